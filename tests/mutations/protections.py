"""The whole table."""

from tests.mutations import access, api, claims, dataverse, erasing, ingest, lane, outcomes, pausing, replacing, signin
from tests.mutations.mutation import Mutation

PROTECTIONS: list[Mutation] = [
    *claims.TABLE,
    *outcomes.TABLE,
    *erasing.TABLE,
    *pausing.TABLE,
    *dataverse.TABLE,
    *ingest.TABLE,
    *lane.TABLE,
    *replacing.TABLE,
    *api.TABLE,
    *signin.TABLE,
    *access.TABLE,
]

"""The whole table."""

from tests.mutations import claims, dataverse, ingest, outcomes, pausing
from tests.mutations.mutation import Mutation

PROTECTIONS: list[Mutation] = [
    *claims.TABLE,
    *outcomes.TABLE,
    *pausing.TABLE,
    *dataverse.TABLE,
    *ingest.TABLE,
]

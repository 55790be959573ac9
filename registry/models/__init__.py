"""Every table of tokenhub."""

from registry.models.access import AppScope
from registry.models.alerts import AlertEpisode, AlertMessage
from registry.models.apps import (
    ApiKey,
    DataverseEnvironment,
    MobileApp,
    Pause,
    ReplacedConnection,
    TokenIssuer,
    secret_columns,
)
from registry.models.bulk import BulkError, BulkJob, BulkPart
from registry.models.devices import Device, MobileUser
from registry.models.erasures import Erasure
from registry.models.events import EventMark, InteractionEvent
from registry.models.figures import DayFigures, FiguresPosition
from registry.models.history import HistoryEntry
from registry.models.insight import EventCount, EventCountChange, RegisteredDevices
from registry.models.sync import AT_REST, ChangeFeed, DataverseMapping, Reconciliation, Registration, RollingCheck

__all__ = [
    "AT_REST",
    "AlertEpisode",
    "AlertMessage",
    "ApiKey",
    "AppScope",
    "BulkError",
    "BulkJob",
    "BulkPart",
    "ChangeFeed",
    "DataverseEnvironment",
    "DataverseMapping",
    "DayFigures",
    "Device",
    "Erasure",
    "EventCount",
    "EventCountChange",
    "EventMark",
    "FiguresPosition",
    "HistoryEntry",
    "InteractionEvent",
    "MobileApp",
    "MobileUser",
    "Pause",
    "Reconciliation",
    "RegisteredDevices",
    "Registration",
    "ReplacedConnection",
    "RollingCheck",
    "TokenIssuer",
    "secret_columns",
]

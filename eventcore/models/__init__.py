"""Data models: JSON objects with a declared shape, as classes, values and placeholders.

This package stands alone: it knows nothing of runs, variables or modules.
"""

from eventcore.models.conversion import defaults_of as defaults_of
from eventcore.models.conversion import is_data_model as is_data_model
from eventcore.models.conversion import json_of as json_of
from eventcore.models.conversion import missing_defaults as missing_defaults
from eventcore.models.conversion import schema_of as schema_of
from eventcore.models.conversion import validator_of as validator_of
from eventcore.models.data_model import DataModel as DataModel
from eventcore.models.field import Field as Field
from eventcore.models.json_data_model import JsonDataModel as JsonDataModel
from eventcore.models.json_data_model import to_json_data_model as to_json_data_model
from eventcore.models.naming import auto_name as auto_name
from eventcore.models.naming import clear_names as clear_names
from eventcore.models.naming import get_uid as get_uid
from eventcore.models.naming import snake_case as snake_case
from eventcore.models.symbolic import SymbolicDataModel as SymbolicDataModel
from eventcore.models.trainable import BOOKKEEPING as BOOKKEEPING
from eventcore.models.trainable import Instructions as Instructions
from eventcore.models.trainable import Prediction as Prediction
from eventcore.models.trainable import Trainable as Trainable
from eventcore.models.trainable import is_instructions as is_instructions
from eventcore.models.trainable import is_prediction as is_prediction
from eventcore.models.trainable import is_trainable as is_trainable
from eventcore.models.validation import Validator as Validator

__all__ = [
    "BOOKKEEPING",
    "DataModel",
    "Field",
    "Instructions",
    "JsonDataModel",
    "Prediction",
    "SymbolicDataModel",
    "Trainable",
    "Validator",
    "auto_name",
    "clear_names",
    "defaults_of",
    "get_uid",
    "is_data_model",
    "is_instructions",
    "is_prediction",
    "is_trainable",
    "json_of",
    "missing_defaults",
    "schema_of",
    "snake_case",
    "to_json_data_model",
    "validator_of",
]

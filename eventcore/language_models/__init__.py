"""Language models: calling them, and the modules that are made of such calls.

Every call is an effect: its request is in the log before it leaves, its answer before the program goes on.
"""

from eventcore.language_models.branch import Branch as Branch
from eventcore.language_models.chain_of_thought import ChainOfThought as ChainOfThought
from eventcore.language_models.decision import Decision as Decision
from eventcore.language_models.decision import MultiDecision as MultiDecision
from eventcore.language_models.embedding_model import EmbeddingModel as EmbeddingModel
from eventcore.language_models.embedding_model import as_embedding_model as as_embedding_model
from eventcore.language_models.embedding_model import (
    get_default_embedding_model as get_default_embedding_model,
)
from eventcore.language_models.embedding_model import (
    set_default_embedding_model as set_default_embedding_model,
)
from eventcore.language_models.generator import Generator as Generator
from eventcore.language_models.language_model import LanguageModel as LanguageModel
from eventcore.language_models.language_model import as_language_model as as_language_model
from eventcore.language_models.language_model import get_default_language_model as get_default_language_model
from eventcore.language_models.language_model import set_default_language_model as set_default_language_model
from eventcore.language_models.response import Response as Response
from eventcore.language_models.self_critique import FineScore as FineScore
from eventcore.language_models.self_critique import Rating as Rating
from eventcore.language_models.self_critique import Rating10 as Rating10
from eventcore.language_models.self_critique import Rating20 as Rating20
from eventcore.language_models.self_critique import Score as Score
from eventcore.language_models.self_critique import SelfCritique as SelfCritique
from eventcore.language_models.self_critique import on_unit_scale as on_unit_scale

__all__ = [
    "Branch",
    "ChainOfThought",
    "Decision",
    "EmbeddingModel",
    "FineScore",
    "Generator",
    "LanguageModel",
    "MultiDecision",
    "Rating",
    "Rating10",
    "Rating20",
    "Response",
    "Score",
    "SelfCritique",
    "as_embedding_model",
    "as_language_model",
    "get_default_embedding_model",
    "get_default_language_model",
    "on_unit_scale",
    "set_default_embedding_model",
    "set_default_language_model",
]

"""The operators on data models as functions: `ec.ops.concat(a, b)`, `ec.ops.in_mask(x, mask=["answer"])`."""

from eventcore.models.operators import concat as concat
from eventcore.models.operators import concatenate as concatenate
from eventcore.models.operators import contains as contains
from eventcore.models.operators import factorize as factorize
from eventcore.models.operators import in_mask as in_mask
from eventcore.models.operators import logical_and as logical_and
from eventcore.models.operators import logical_not as logical_not
from eventcore.models.operators import logical_or as logical_or
from eventcore.models.operators import logical_xor as logical_xor
from eventcore.models.operators import out_mask as out_mask
from eventcore.models.operators import prefix as prefix
from eventcore.models.operators import suffix as suffix

__all__ = [
    "concat",
    "concatenate",
    "contains",
    "factorize",
    "in_mask",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "out_mask",
    "prefix",
    "suffix",
]

"""IAM's policy language: documents, their patterns and conditions, and what they decide together.

It knows nothing of services, users or HTTP: it is given documents, a principal, an action, a resource and a context.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies.html
"""

from .context import Context
from .documents import Document, PolicyError, Statement, parse
from .evaluation import Decision, Policies, Principal, decide

__all__ = ["Context", "Decision", "Document", "Policies", "PolicyError", "Principal", "Statement", "decide", "parse"]

"""Tags of SageMaker resources, by ARN, whatever their kind."""

from __future__ import annotations

from ..errors import refuse
from ..gateway import Params, Request, operation
from ..paging import page
from ..tags import from_list, to_list

MAX_TAGS = 50


@operation("sagemaker", "AddTags")
def add_tags(request: Request, params: Params) -> Params:
    """Add tags, or replace their values; answers all of the resource's tags."""
    arn, given = params["ResourceArn"], from_list(params["Tags"])
    _check_exists(request, arn)
    reserved = [key for key in given if key.lower().startswith("aws:")]
    if reserved:
        refuse("ValidationException", f"Tag keys must not start with the reserved prefix aws: ({reserved[0]}).")
    if len({**request.cloud.tags.of(arn), **given}) > MAX_TAGS:
        refuse("ValidationException", f"The resource {arn} would have more than {MAX_TAGS} tags.")
    request.cloud.tags.add(arn, given)
    return {"Tags": to_list(request.cloud.tags.of(arn))}


@operation("sagemaker", "ListTags")
def list_tags(request: Request, params: Params) -> Params:
    """A resource's tags, in pages."""
    arn = params["ResourceArn"]
    _check_exists(request, arn)
    size = params.get("MaxResults", MAX_TAGS)
    shown, token = page(to_list(request.cloud.tags.of(arn)), "Key", params.get("NextToken"), size)
    return {"Tags": list(shown), "NextToken": token}


@operation("sagemaker", "DeleteTags")
def delete_tags(request: Request, params: Params) -> None:
    """Remove some of a resource's tags."""
    _check_exists(request, params["ResourceArn"])
    request.cloud.tags.remove(params["ResourceArn"], params["TagKeys"])


def _check_exists(request: Request, arn: str) -> None:
    """Every kind of resource has a table of its kind's name in the ARN: ``training-job``, ``endpoint``, ``model``…"""
    _, _, _, region, account, resource = arn.split(":", 5)
    kind, _, name = resource.partition("/")
    known = request.cloud.store.table(kind)
    # ARNs of endpoints and models carry their names in lower case; the tables have them as they were given.
    exists = known.find(region, name) is not None or any(
        where == region and one.lower() == name.lower() for where, one, _ in known.everywhere()
    )
    if not exists or account != request.account or region != request.region:
        refuse("ValidationException", f'Could not find {kind} "{arn}".')

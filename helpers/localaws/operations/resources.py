"""Resource Groups Tagging: everything tagged, whoever keeps it."""

from __future__ import annotations

from ..gateway import Params, Request, operation
from ..tags import to_list

PAGE = 100
# Of ids such as i-0123: what the series and its readers tag.
EC2_KINDS = {"i": "instance", "sg": "security-group", "vol": "volume", "eni": "network-interface"}


@operation("resourcegroupstaggingapi", "GetResources")
def get_resources(request: Request, params: Params) -> Params:
    """All resources of the region that carry tags, narrowed by tag filters, types and ARNs."""
    found = {
        **request.cloud.tags.everything(request.region),
        **_buckets(request),
        **_log_groups(request),
        **_ec2(request),
    }
    wanted = [
        {"ResourceARN": arn, "Tags": to_list(tags)}
        for arn, tags in sorted(found.items())
        if tags and _passes(arn, tags, params)
    ]
    start = int(params.get("PaginationToken") or 0)
    end = start + (params.get("ResourcesPerPage") or PAGE)
    return {"ResourceTagMappingList": wanted[start:end], "PaginationToken": str(end) if end < len(wanted) else ""}


def _passes(arn: str, tags: dict[str, str], params: Params) -> bool:
    filters = params.get("TagFilters") or []
    types, arns = params.get("ResourceTypeFilters") or [], params.get("ResourceARNList") or []
    return (
        all(one["Key"] in tags and (not one.get("Values") or tags[one["Key"]] in one["Values"]) for one in filters)
        and (not types or any(_is_type(arn, one) for one in types))
        and (not arns or arn in arns)
    )


def _is_type(arn: str, wanted: str) -> bool:
    """``wanted`` is ``service`` or ``service:type``."""
    service, resource = arn.split(":")[2], arn.split(":", 5)[5]
    kind = "bucket" if service == "s3" else resource.replace(":", "/").split("/")[0]
    return wanted in {service, f"{service}:{kind}"}


def _buckets(request: Request) -> dict[str, dict[str, str]]:
    records = request.cloud.records
    with records.lock("s3"):
        backend = records.backend("s3", request.region)
        return {
            bucket.arn: dict(backend.tagger.get_tag_dict_for_resource(bucket.arn))
            for bucket in backend.buckets.values()
            if bucket.region_name == request.region
        }


def _log_groups(request: Request) -> dict[str, dict[str, str]]:
    records = request.cloud.records
    with records.lock("logs"):
        backend = records.backend("logs", request.region)
        return {group.arn: dict(backend.list_tags_for_resource(group.arn)) for group in backend.groups.values()}


def _ec2(request: Request) -> dict[str, dict[str, str]]:
    """Instances, volumes, security groups and the like; without what has been terminated or deleted."""
    records = request.cloud.records
    with records.lock("ec2"):
        backend = records.backend("ec2", request.region)
        gone = {one.id for one in backend.all_instances() if one.state == "terminated"}
        groups = {identifier for by_id in backend.groups.values() for identifier in by_id}
        living = groups | backend.volumes.keys() | backend.enis.keys()
        return {
            request.arn("ec2", f"{kind}/{identifier}"): dict(tags)
            for identifier, tags in backend.tags.items()
            if identifier not in gone
            and (kind := EC2_KINDS.get(identifier.split("-")[0]))
            and (kind == "instance" or identifier in living)
        }

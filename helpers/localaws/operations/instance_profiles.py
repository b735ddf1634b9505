"""Tags of instance profiles, which moto keeps but does not list."""

from __future__ import annotations

from ..errors import refuse
from ..gateway import Params, Request, operation


@operation("iam", "ListInstanceProfileTags")
def list_instance_profile_tags(request: Request, params: Params) -> Params:
    """An instance profile's tags, sorted by key."""
    name = params["InstanceProfileName"]
    with request.cloud.records.lock("iam"):
        found = request.cloud.records.backend("iam", "aws").instance_profiles.values()
        profile = next((one for one in found if one.name == name), None)
        if profile is None:
            refuse("NoSuchEntity", f"Instance Profile {name} cannot be found.")
        return {"Tags": sorted(profile.tags, key=lambda tag: str(tag["Key"])), "IsTruncated": False}

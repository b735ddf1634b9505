"""Service Quotas: the quotas of what the series needs, by AWS's own codes, and requests for more.

https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/
"""

from __future__ import annotations

from typing import Any

from ..errors import refuse
from ..gateway import Params, Request, operation
from ..paging import page
from ..quotas import LAMBDA_CONCURRENCY, SERVICES, Quota, catalogue

PAGE = 100
# Where AWS publishes how much of a quota is used; the only such metric of these.
USAGE_METRICS = {
    LAMBDA_CONCURRENCY: {
        "MetricNamespace": "AWS/Lambda",
        "MetricName": "ConcurrentExecutions",
        "MetricDimensions": {},
        "MetricStatisticRecommendation": "Maximum",
    }
}


@operation("service-quotas", "ListServices")
def list_services(_: Request, params: Params) -> Params:
    """The services that have quotas here."""
    services = [{"ServiceCode": code, "ServiceName": name} for code, name in SERVICES.items()]
    shown, token = _page(services, "ServiceCode", params)
    return {"Services": shown, "NextToken": token}


@operation("service-quotas", "ListServiceQuotas")
def list_service_quotas(request: Request, params: Params) -> Params:
    """The applied quotas of a service."""
    found = [_describe(request, quota) for quota in _of(params["ServiceCode"])]
    found = [one for one in found if params.get("QuotaCode") in (None, one["QuotaCode"])]
    shown, token = _page(found, "QuotaCode", params)
    return {"Quotas": shown, "NextToken": token}


@operation("service-quotas", "GetServiceQuota")
def get_service_quota(request: Request, params: Params) -> Params:
    """One applied quota."""
    return {"Quota": _describe(request, _find(params))}


@operation("service-quotas", "ListAWSDefaultServiceQuotas")
def list_aws_default_service_quotas(request: Request, params: Params) -> Params:
    """The quotas that a new account starts with."""
    found = [_describe(request, quota, quota.default) for quota in _of(params["ServiceCode"])]
    shown, token = _page(found, "QuotaCode", params)
    return {"Quotas": shown, "NextToken": token}


@operation("service-quotas", "GetAWSDefaultServiceQuota")
def get_aws_default_service_quota(request: Request, params: Params) -> Params:
    """One quota of a new account."""
    quota = _find(params)
    return {"Quota": _describe(request, quota, quota.default)}


@operation("service-quotas", "RequestServiceQuotaIncrease")
def request_service_quota_increase(request: Request, params: Params) -> Params:
    """Ask for more: pending, and granted a while later."""
    quota, requester = _find(params), f"arn:aws:iam::{request.account}:root"
    asked = request.cloud.quotas.request(request.region, quota.code, params["DesiredValue"], requester)
    return {"RequestedQuota": asked}


@operation("service-quotas", "GetRequestedServiceQuotaChange")
def get_requested_service_quota_change(request: Request, params: Params) -> Params:
    """How a request stands."""
    for one in request.cloud.quotas.requests(request.region):
        if one["Id"] == params["RequestId"]:
            return {"RequestedQuota": one}
    return refuse("NoSuchResourceException", "The request failed because the specified request does not exist.")


@operation("service-quotas", "ListRequestedServiceQuotaChangeHistory", "ListRequestedServiceQuotaChangeHistoryByQuota")
def list_requested_service_quota_change_history(request: Request, params: Params) -> Params:
    """Requests, newest first: of all services, of one, or of one quota."""
    if "QuotaCode" in params:
        _find(params)
    found = [
        one
        for one in request.cloud.quotas.requests(request.region)
        if params.get("ServiceCode") in (None, one["ServiceCode"])
        and params.get("QuotaCode") in (None, one["QuotaCode"])
        and params.get("Status") in (None, one["Status"])
    ]
    shown, token = _page(found, "Id", params)
    return {"RequestedQuotas": shown, "NextToken": token}


def _of(service: str) -> list[Quota]:
    if service not in SERVICES:
        refuse(
            "NoSuchResourceException", f"The request failed because the specified service does not exist: {service}."
        )
    return [quota for quota in catalogue().values() if quota.service == service]


def _find(params: Params) -> Quota:
    for quota in _of(params["ServiceCode"]):
        if quota.code == params["QuotaCode"]:
            return quota
    return refuse("NoSuchResourceException", "The request failed because the specified service quota does not exist.")


def _describe(request: Request, quota: Quota, value: float | None = None) -> Params:
    default = value is not None
    where = f"{request.region}:" if default else f"{request.region}:{request.account}"
    described = {
        "ServiceCode": quota.service,
        "ServiceName": SERVICES[quota.service],
        "QuotaArn": f"arn:aws:servicequotas:{where}:{quota.service}/{quota.code}",
        "QuotaCode": quota.code,
        "QuotaName": quota.name,
        "Value": value if value is not None else request.cloud.quotas.value(request.region, quota.code),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
        "QuotaAppliedAtLevel": "ACCOUNT",
    }
    metric = USAGE_METRICS.get(quota.code)
    return described | ({"UsageMetric": metric} if metric else {})


def _page(rows: list[Params], name: str, params: Params) -> tuple[Any, str | None]:
    return page(rows, name, params.get("NextToken"), params.get("MaxResults", PAGE), "InvalidPaginationTokenException")

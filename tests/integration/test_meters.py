"""What bills until somebody ends it: endpoint, notebook instance, machine; while they run, not a moment longer."""

import boto3
import pytest

from helpers import access, cloud, compute, meters, notebook_instance, scaling, teardown
from helpers.settings import Settings
from tests import everything


@pytest.fixture
def there(user):
    settings = Settings.of(project="metered")
    connection = cloud.Cloud(settings, boto3.Session(region_name="us-east-1"), "123456789012", "tester")
    cloud.ensure_bucket(connection)
    yield connection
    teardown.delete(connection, teardown.find(connection), str)


def test_what_runs_has_a_meter_and_what_has_ended_has_none(there):
    assert meters.running(there) == []
    role = access.ensure_sagemaker_role(there)
    list(everything._serving(there, role))
    scaling.remove_autoscaling(there, there.settings.endpoint_name)
    notebook_instance.ensure_notebook_instance(there, role)
    list(everything._compute(there))
    (machine,) = compute.instances(there)
    compute.describe(there, machine)
    running = {line.what: line.usd for line in meters.running(there)}
    assert running == pytest.approx(
        {"endpoint metered": 0.204, "notebook instance metered-notebook": 0.05, f"EC2 instance {machine}": 0.085}
    )
    assert meters.over(meters.running(there), days=1) == pytest.approx(24 * 0.339)

    compute.terminate(there, machine)
    name = notebook_instance.name_of(there)
    there.client("sagemaker").stop_notebook_instance(NotebookInstanceName=name)
    there.client("sagemaker").get_waiter("notebook_instance_stopped").wait(NotebookInstanceName=name)
    assert [line.what for line in meters.running(there)] == ["endpoint metered"]
    found = teardown.find(there)
    assert teardown.delete(there, found, str) == []
    assert meters.running(there) == []
    assert teardown.delete(there, found, str) == [], "what is gone already is no error"


def test_environments_that_wait_have_a_meter(there, tmp_path):
    from helpers import functions

    (tmp_path / "app.py").write_text("def handler(event, context):\n    return 1\n")
    client, name = there.client("lambda"), there.settings.function_name
    role = access.ensure_function_role(there)
    given = {"handler": "app.handler", "role": role, "memory": 256, "tags": there.settings.tags}
    functions.deploy(client, name, tmp_path, **given)
    assert meters.running(there) == []
    functions.ensure_alias(client, name, "live", functions.publish(client, name))
    functions.ensure_provisioned(client, name, "live", 2)
    (line,) = meters.running(there)
    assert line.what == "function metered, provisioned"
    assert line.usd == pytest.approx(2 * 3600 * 0.25 * 0.0000041667)

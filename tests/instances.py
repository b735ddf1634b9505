"""What the tests of EC2 instances share: launching, waiting and reading the console, as a user does with boto3."""

from __future__ import annotations

import base64
import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import LocalAws

AL2023 = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
NUMBERS = itertools.count(1)


@dataclass
class Instances:
    """Instances on an embedded AWS, all with a role that may be reached through Systems Manager."""

    aws: LocalAws

    def __post_init__(self) -> None:
        self.ec2, self.ssm, self.iam = self.aws.client("ec2"), self.aws.client("ssm"), self.aws.client("iam")
        self.ami = self.ssm.get_parameter(Name=AL2023)["Parameter"]["Value"]

    def profile(self, name: str, service: str = "ec2.amazonaws.com", managed: bool = True) -> str:
        """An instance profile with a role of the same name that may list buckets; its name."""
        self.aws.role(name, service)
        document = {"Statement": [{"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}]}
        policy = json.dumps({"Version": "2012-10-17", **document})
        self.iam.put_role_policy(RoleName=name, PolicyName="buckets", PolicyDocument=policy)
        if managed:
            arn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
            self.iam.attach_role_policy(RoleName=name, PolicyArn=arn)
        self.iam.create_instance_profile(InstanceProfileName=name)
        self.iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        return name

    def request(self, script: str = "", **changes: Any) -> dict[str, Any]:
        """RunInstances' input for one instance that runs a bash script at its first boot."""
        user_data = {"UserData": f"#!/bin/bash\n{script}\n"} if script else {}
        return {"ImageId": self.ami, "InstanceType": "c5.large", "MinCount": 1, "MaxCount": 1, **user_data, **changes}

    def launch(self, script: str = "", **changes: Any) -> str:
        """Launch one instance; its id."""
        return str(self.ec2.run_instances(**self.request(script, **changes))["Instances"][0]["InstanceId"])

    def running(self, script: str = "", **changes: Any) -> str:
        """Launch one instance and wait until it runs; its id."""
        identifier = self.launch(script, **changes)
        self.wait(identifier, "running")
        return identifier

    def wait(self, identifier: str, state: str) -> dict[str, Any]:
        """Wait for a state; the description then. (boto3's waiters give up on states that come before.)"""
        until = time.monotonic() + 60
        while (found := self.describe(identifier))["State"]["Name"] != state:
            assert time.monotonic() < until, found
            time.sleep(0.1)
        return found

    def describe(self, identifier: str) -> dict[str, Any]:
        """DescribeInstances of one."""
        found: dict[str, Any] = self.ec2.describe_instances(InstanceIds=[identifier])
        return dict(found["Reservations"][0]["Instances"][0])

    def state(self, identifier: str) -> str:
        """Its state's name."""
        return str(self.describe(identifier)["State"]["Name"])

    def console(self, identifier: str) -> str:
        """What it has said so far."""
        return str(self.ec2.get_console_output(InstanceId=identifier, Latest=True)["Output"])

    def said(self, identifier: str, text: str) -> str:
        """The console, once it has said ``text``."""
        until = time.monotonic() + 60
        while text not in (console := self.console(identifier)):
            assert time.monotonic() < until, console
            time.sleep(0.1)
        return console

    def left_alone(self, identifier: str) -> None:
        """Wait until none of its processes is left: one that has been killed is there until it is its turn to end."""
        until = time.monotonic() + 60
        while found := processes_of(identifier):
            assert time.monotonic() < until, found
            time.sleep(0.1)

    def user_data(self, identifier: str) -> str:
        """DescribeInstanceAttribute's user data, decoded."""
        found = self.ec2.describe_instance_attribute(InstanceId=identifier, Attribute="userData")
        return base64.b64decode(found["UserData"]["Value"]).decode()

    def run_command(self, identifier: str, *lines: str) -> dict[str, Any]:
        """Run shell commands through Systems Manager, once the instance can be reached; the invocation at its end."""
        until = time.monotonic() + 60
        online: list[Any] = []
        while not online:
            assert time.monotonic() < until
            filters = [{"Key": "InstanceIds", "Values": [identifier]}]
            online = self.ssm.describe_instance_information(Filters=filters)["InstanceInformationList"]
        command = self.ssm.send_command(
            InstanceIds=[identifier], DocumentName="AWS-RunShellScript", Parameters={"commands": list(lines)}
        )["Command"]["CommandId"]
        while True:
            found: dict[str, Any] = self.ssm.get_command_invocation(CommandId=command, InstanceId=identifier)
            if found["Status"] not in ("Pending", "InProgress"):
                return found
            time.sleep(0.1)


def processes_of(identifier: str) -> list[int]:
    """The processes on this machine that belong to an instance."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            environment = (folder / "environ").read_bytes() if folder.name.isdigit() else b""
        except OSError:
            continue
        if f"/instances/{identifier}/".encode() in environment:
            found.append(int(folder.name))
    return found

"""What the original project did with a request, in one function: notebook 06 deploys it, breaks in, and deletes it.

There the endpoint fetched the address and the function passed it on; here one function does both. Nothing else differs.
"""

import json
from typing import Any
from urllib.request import urlopen


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Fetch whatever address the caller names, from wherever this runs, and say what came and where it ran."""
    fetched = urlopen(event["url"]).read()
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "text/plain", "Access-Control-Allow-Origin": "*"},
        "type-result": str(type(fetched)),
        "COntent-Type-In": str(context),
        "body": json.dumps(fetched.decode("utf-8", "replace")),
    }

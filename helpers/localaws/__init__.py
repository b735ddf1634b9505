"""An embedded AWS on loopback: jobs train, endpoints serve and functions run, as plain processes.

``python -m helpers.localaws up`` starts it and prints the URL that ``AWS_ENDPOINT_URL`` takes; any boto3, SageMaker SDK
or AWS CLI then works against it. Nothing here imports anything else of ``helpers``.
"""

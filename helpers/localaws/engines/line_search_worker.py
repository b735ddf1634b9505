"""The process behind :mod:`line_search`: it searches lines, and may be killed while it does.

Its input: a line with the expressions as a JSON list, then the lines to search, each as JSON text. Its output for each
line: one line an expression, at once, with what the first group has matched, or null.
"""

import json
import re
import sys


def main() -> None:
    """Serve until the input ends."""
    patterns = [re.compile(expression) for expression in json.loads(sys.stdin.readline())]
    for line in sys.stdin:
        text = json.loads(line)
        for pattern in patterns:
            match = pattern.search(text)
            print(json.dumps(match.group(1) if match else None), flush=True)


if __name__ == "__main__":
    main()

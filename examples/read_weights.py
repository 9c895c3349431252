"""How a training job reads the adopted weights: needs httpx alone, and works on while the service is away.

    MIXWRIGHT_API_KEY=... python examples/read_weights.py STUDY_ID [URL]

The last answer is kept in a file. It is sent back as If-None-Match, so that most answers are an empty 304, and it is
what the job trains with while the service cannot be reached.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import httpx


def read_weights(url: str, study_id: str, key: str, kept: Path) -> dict:
    """The adopted weights of a study, or those of the last call while the service cannot answer.

    Raises:
        httpx.HTTPError: the service refuses the call, or cannot answer and never has.
    """
    last = json.loads(kept.read_text()) if kept.exists() else None
    headers = {"Authorization": f"Bearer {key}"} | ({"If-None-Match": f'"{last["version"]}"'} if last else {})
    try:
        answer = httpx.get(f"{url}/v1/studies/{study_id}/weights", headers=headers, timeout=5)
    except httpx.TransportError:
        if last is None:
            raise
        return last
    if last is not None and (answer.status_code in (304, 429) or answer.is_server_error):
        return last
    answer.raise_for_status()
    half = kept.with_suffix(".half")
    half.write_text(answer.text)
    half.replace(kept)  # whole or not at all
    return answer.json()


if __name__ == "__main__":
    study, service = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "http://127.0.0.1:8321"
    weights = read_weights(service, study, os.environ["MIXWRIGHT_API_KEY"], Path(f"weights-{study}.json"))
    sys.stdout.write(f"version {weights['version']}: {json.dumps(weights['weights'])}\n")

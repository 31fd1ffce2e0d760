"""What schemathesis changes in requests: no endpoint of webhooks is somewhere else. A test that asked the world would wait as long as it pleases somebody
there, and has no business there."""

import re

import schemathesis

# Nobody listens there.
NOWHERE = "127.0.0.1:9"


@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.body, dict) and isinstance(case.body.get("url"), str):
        case.body["url"] = re.sub(r"(?i)^(https?://)[^/?#]*", rf"\g<1>{NOWHERE}", case.body["url"])

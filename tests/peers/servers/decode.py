"""Google's protobuf with Tahu's field numbers (as pysparkplug ships them): base64 payloads on stdin, what they say on stdout."""

import base64
import json
import sys

from google.protobuf.json_format import MessageToDict  # as .peers has it
from pysparkplug._protobuf import Payload  # type: ignore[import-not-found]  # lives in .peers only

sys.stdout.write(json.dumps({"event": "ready"}) + "\n")
sys.stdout.flush()
for line in sys.stdin:
    payload = Payload()
    payload.ParseFromString(base64.b64decode(json.loads(line)))
    again = base64.b64encode(payload.SerializeToString(deterministic=True)).decode()
    said = MessageToDict(payload, preserving_proto_field_name=True)
    payload.DiscardUnknownFields()
    known = base64.b64encode(payload.SerializeToString(deterministic=True)).decode()
    sys.stdout.write(json.dumps({"said": said, "again": again, "unknown": known != again}) + "\n")
    sys.stdout.flush()

"""The contracts: what Dify promises, as data, and what breaks them.

```python
contracts = Contracts.load("1.16")
for violation in contracts.check_event("chat", event):
    print(violation)  # $.metadata.usage.total_tokens: '1168' is not an integer (contracts/events/message_end)
```

The promises themselves are JSON Schema files (`contracts/`, in the wheel `mockdify/_contracts`). Importing this package
is cheap: jsonschema is imported when the first value is checked.
"""

from mockdify.contracts._contracts import MODES, Contracts
from mockdify.contracts._export import ContractInfo, bundle, list_contracts, openapi, show
from mockdify.contracts._operations import Operation, Reply
from mockdify.contracts._orders import OrderChecker
from mockdify.contracts._resolve import View
from mockdify.contracts._violations import DRIFT, Kind, Severity, Violation

__all__ = [
    "DRIFT",
    "MODES",
    "ContractInfo",
    "Contracts",
    "Kind",
    "Operation",
    "OrderChecker",
    "Reply",
    "Severity",
    "View",
    "Violation",
    "bundle",
    "list_contracts",
    "openapi",
    "show",
]

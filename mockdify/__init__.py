"""mockdify: a mock Dify server and a contract-testing harness for its clients."""

__version__ = "0.1.0"

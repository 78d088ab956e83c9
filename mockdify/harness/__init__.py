"""Running checks against a client: adapters, the stage, the runner, reports."""

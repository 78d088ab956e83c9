"""The guide's other samples (examples/guide), each a client: its monitoring, cache, batch, unit test, integration test.

mockdify check examples/adapters/guide_calls.py:Monitored        (or :Cached :Batch :UnitTest :IntegrationTest)
"""

import sys
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "guide"))
import batch
import cached
import monitored
import test_api

ask = test_api.ask


class Sample:
    capabilities = ("chat.blocking",)
    module = test_api

    def chat(self, base_url, api_key, query):
        self.module.URL, self.module.HEADERS = f"{base_url}/chat-messages", {"Authorization": f"Bearer {api_key}"}
        answer = self.run(query)
        return {**answer, "text": answer.get("result", answer.get("answer"))} if answer else ""


class Monitored(Sample):
    module, run = monitored, staticmethod(monitored.monitor_chat)


class Cached(Sample):
    module, run = cached, staticmethod(cached.cached_chat)


class Batch(Sample):
    module, run = batch, staticmethod(lambda query: batch.batch_chat([query])[0])


class UnitTest(Sample):
    def run(self, query):
        answer = ask(query)
        with mock.patch.object(test_api, "ask", return_value=answer):  # the test has a question of its own
            test_api.TestDifyAPI("test_chat").debug()
        return answer


class IntegrationTest(Sample):
    """Its two questions are two calls: the second goes on with the first's conversation."""

    def chat(self, base_url, api_key, query, conversation_id):
        self.run = lambda text: ask(text, **({"conversation_id": conversation_id} if conversation_id else {}))
        return super().chat(base_url, api_key, query)

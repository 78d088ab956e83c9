"""Several questions, one after the other. Every call is a conversation of its own."""

import os

from retry_helper import chat_with_retry

URL = os.environ.get("DIFY_BASE_URL", "http://127.0.0.1:5001/v1") + "/chat-messages"
HEADERS = {"Authorization": f"Bearer {os.environ.get('DIFY_API_KEY', 'app-chat-demo')}"}


def batch_chat(messages):
    answers = []
    for message in messages:
        body = {"inputs": {}, "query": message, "response_mode": "blocking", "user": "abc-123"}
        answers.append(chat_with_retry(URL, HEADERS, body))
    return answers


if __name__ == "__main__":
    for answer in batch_chat(["Hello", "How are you?"]):
        print(answer["result"])

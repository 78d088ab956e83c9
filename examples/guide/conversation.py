"""A conversation: the first turn has no id, later turns carry the one that came back.

Later turns may leave `inputs` out, and `variables` adjusts what the conversation remembers. Neither works on Dify.
"""

from chat import chat


def start(query):
    return chat(query).json()["conversation_id"]


def go_on(conversation_id, query, **more):
    return chat(query, conversation_id=conversation_id, **more).json()


if __name__ == "__main__":
    conversation = start("Hello")
    print(go_on(conversation, "How are you?")["result"])
    print(go_on(conversation, "Answer in Chinese from now on", variables={"language": "Chinese"})["result"])

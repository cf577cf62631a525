"""The first steps with nats-py (pip install nats-py), without an SDK: four requests to a running
engine. Untested: the tests of this repository do not reach PyPI."""

import asyncio
import sys

import nats


async def main() -> None:
    nc = await nats.connect(sys.argv[1] if len(sys.argv) > 1 else "nats://127.0.0.1:4222")

    async def ask(subject: str, body: str) -> None:
        print(f">      {subject} {body}")
        reply = await nc.request(subject, body.encode(), timeout=5)
        code = (reply.headers or {}).get("Nats-Service-Error-Code", "")
        print(f"< {code:4} {reply.data.decode()}")

    await ask("commands.agent.python-agent.set", '{"key":"plan","value":{"goal":"ship","steps":3},"strategy":"last_write_wins"}')
    await ask("queries.agent.python-agent.get", '{"key":"plan"}')
    await ask("commands.agent.python-agent.set", '{"key":"plan","value":"mine","strategy":"reject"}')  # a conflict
    await ask("commands.agent.python-agent.set", '{"key":"no spaces","value":1}')  # a refusal
    await nc.close()


asyncio.run(main())

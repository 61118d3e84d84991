"""A client of the official SDK that talks to a server through `gait mcp serve`: client.py MODE SCENE."""

import asyncio, json, os, sys

import mcp_types as types
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

MODE, SCENE = sys.argv[1:]
GAIT, SCRIPTS = os.environ["GAIT"], os.environ["SCRIPTS"]
BIN = os.path.dirname(sys.executable)
POLICY = """
default_verdict: block
rules:
  - {name: clock, priority: 1, effect: allow, match: {tool_names: [get_current_time, ask, wait, die]}}
  - {name: conversions, priority: 2, effect: require_approval, match: {tool_names: [convert_time]}}
"""


def parameters():
    with open("policy.yaml", "w") as file:
        file.write(POLICY)
    if SCENE == "configured":
        with open(os.path.join(os.environ["REPOSITORY"], "examples/mcp/client.json")) as file:
            entry = json.load(file)["mcpServers"]["time"]
        policy = os.path.join(os.environ["REPOSITORY"], "examples/mcp/policy.yaml")
        places = {"gait": GAIT, "/path/to/policy.yaml": policy, "/path/to/gait-out": "gait-out", "mcp-server-time": BIN + "/mcp-server-time"}
        args = [places.get(arg, arg) for arg in entry["args"]]
        args[args.index("--"):args.index("--")] = ["--run-id", "run_sdk"]
        return StdioServerParameters(command=places[entry["command"]], args=args, cwd=os.getcwd())
    server = [BIN + "/mcp-server-time"] if SCENE == "time" else [sys.executable, SCRIPTS + "/server.py"]
    args = ["mcp", "serve", "--policy", "policy.yaml", "--run-id", "run_sdk", "--", *server]
    return StdioServerParameters(command=GAIT, args=args, cwd=os.getcwd())


def refused(result, *words):
    assert result.is_error, result
    text = result.content[0].text
    assert all(word in text for word in words), text


async def time(client):
    names = {tool.name for tool in (await client.list_tools()).tools}
    assert names == {"get_current_time", "convert_time"}, names
    now = await client.call_tool("get_current_time", {"timezone": "Europe/Berlin"})
    assert not now.is_error and "Europe/Berlin" in now.content[0].text, now
    times = {"source_timezone": "Europe/Berlin", "time": "10:00", "target_timezone": "UTC"}
    refused(await client.call_tool("convert_time", times), "require_approval", "conversions", "matched_rule_conversions")
    refused(await client.call_tool("no_such_tool", {}), "block", "default_block")


async def chatty(client):
    seen = []

    async def progress(done, total, message):
        seen.append(done)

    answer = await client.call_tool("ask", {"question": "why?"}, progress_callback=progress)
    assert answer.content[0].text == "because why?", answer
    assert seen == [0.5], seen
    try:
        await asyncio.wait_for(client.call_tool("wait", {}), 0.5)
        raise AssertionError("a tool that never ends has ended")
    except (asyncio.TimeoutError, TimeoutError):
        pass
    answer = await client.call_tool("ask", {"question": "again?"})
    assert answer.content[0].text == "because again?", answer


async def dying(client):
    try:
        answer = await client.call_tool("die", {})
    except Exception as error:
        assert "did not answer" in str(error), repr(error)
    else:
        raise AssertionError(answer)


async def sampling(context, params):
    text = "because " + params.messages[0].content.text
    return types.CreateMessageResult(role="assistant", content=types.TextContent(type="text", text=text), model="none")


async def main():
    scene = {"time": time, "configured": time, "chatty": chatty, "dying": dying}[SCENE]
    async with Client(stdio_client(parameters()), mode=MODE, sampling_callback=sampling) as client:
        await scene(client)


asyncio.run(main())

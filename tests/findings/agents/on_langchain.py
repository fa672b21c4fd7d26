"""An agent on LangGraph, with its node for tools, which hands every failure back to the model."""

from langchain_anthropic import ChatAnthropic
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from tools import MODEL, QUESTION, TOOLS, runs

OFFERED = [tool(one) for one in TOOLS]


def ask(key):
    model = ChatAnthropic(model=MODEL, max_tokens=100, max_retries=0, api_key=key).bind_tools(OFFERED)
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode(OFFERED, handle_tool_errors=True))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    graph.compile().invoke({"messages": [("user", QUESTION)]}, {"recursion_limit": 100})


runs(ask)

"""A wrapped method can be copied and pickled wherever the method can."""

import copy
import pickle

from nexus_otel.engine.wrappers import Wrapper


class Tool:
    """Keeps one of its own methods, as objects of frameworks do."""

    def __init__(self):
        self.calls = []
        self.again = self.call

    def call(self, number):
        self.calls.append(number)
        return number + 1


Tool.call = Wrapper(Tool.call, lambda wrapped, _instance, args, kwargs: wrapped(*args, **kwargs) * 10)


def test_a_copy_of_its_object_has_its_own():
    tool = Tool()
    other = copy.deepcopy(tool)
    assert other.again(1) == 20
    assert (tool.calls, other.calls) == ([], [1])
    assert other.again.__self__ is other


def test_a_shallow_copy_is_the_same():
    tool = Tool()
    assert copy.copy(tool.call)(1) == 20
    assert copy.copy(Tool).call is not None
    assert copy.deepcopy(vars(Tool)["call"]) is vars(Tool)["call"]
    assert copy.copy(vars(Tool)["call"]) is vars(Tool)["call"]
    assert copy.deepcopy(Tool.call)(tool, 1) == 20


def test_it_can_be_pickled():
    tool = pickle.loads(pickle.dumps(Tool()))  # noqa: S301 - made here
    assert tool.again(1) == 20
    assert tool.calls == [1]
    assert pickle.loads(pickle.dumps(Tool.call))(tool, 2) == 30  # noqa: S301 - as above

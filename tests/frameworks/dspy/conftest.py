"""DSPy is imported here first: some of its versions warn of themselves then."""

import os
import warnings

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import dspy
    import dspy.predict

__all__ = ["dspy"]

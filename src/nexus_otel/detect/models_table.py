"""What models take, in input tokens: made by `docs/generate_models.py` from litellm 1.110.2, not by hand."""

from __future__ import annotations

from typing import Final

LISTED: Final[dict[int, str]] = {
    4096: (
        "chronos-hermes-13b-v2 code-llama-70b code-llama-70b-python codellama codellama-34b-instruct-hf "
        "codellama-70b-instruct-hf codellama-7b-instruct-awq command-light-text-v14 command-nightly command-text-v14 "
        "deepseek-coder-7b-base deepseek-coder-7b-base-v1p5 deepseek-coder-7b-instruct-v1p5 firellava-13b "
        "fireworks-ai/accounts/fireworks/models/minimax-m1-80k "
        "fireworks-ai/accounts/fireworks/models/qwen3-next-80b-a3b-instruct "
        "fireworks-ai/accounts/fireworks/models/qwen3-next-80b-a3b-thinking "
        "fireworks-ai/accounts/fireworks/models/qwen3-vl-32b-instruct flux-1-dev flux-1-dev-controlnet-union "
        "flux-1-schnell ft-gpt-3-5-turbo-0613 llama-2-13b llama-2-13b-chat-hf llama-2-70b llama-2-70b-chat-hf "
        "llama-2-7b llama-2-7b-chat-hf llama-v2-13b llama-v2-70b llama-v2-7b llama-v3p1-405b-instruct-long "
        "llama-v3p1-70b-instruct-1b llama2 llama2-13b llama2-70b llama2-7b llama2-uncensored llamaguard-7b llava-7b "
        "llava-yi-34b meta-textgeneration-llama-2-13b meta-textgeneration-llama-2-13b-f "
        "meta-textgeneration-llama-2-70b meta-textgeneration-llama-2-70b-b-f meta-textgeneration-llama-2-7b "
        "meta-textgeneration-llama-2-7b-f mistral-7b-instruct mistral-7b-v0-1 mt0-xxl mt0-xxl-13b mythomax-l2-13b "
        "nous-hermes-2-yi-34b nous-hermes-llama2-13b nous-hermes-llama2-70b nous-hermes-llama2-7b orca-mini "
        "palmyra-vision-7b perplexity/mixtral-8x7b-instruct pplx-70b-chat pplx-70b-online pplx-7b-online "
        "qwen2p5-coder-32b-instruct qwen2p5-math-72b-instruct replicate/mistralai/mistral-7b-instruct-v0-2 "
        "replicate/mistralai/mixtral-8x7b-instruct-v0-1 snowflake-arctic stablecode-3b "
        "together-ai/meta-llama/llama-3-1-405b-instruct yi-34b yi-6b "
    ),
    4097: "azure/gpt-3-5-turbo gpt-35-turbo",
    8000: "snowflake-llama-3-1-405b",
    8191: "ai21-j2-mid-v1 ai21-j2-ultra-v1",
    8192: (
        "alia-40b-instruct-q8-0 allam-1-13b-instruct anyscale/meta-llama/meta-llama-3-70b-instruct "
        "apertus-70b-instruct apertus-8b-instruct codegemma codegemma-2b codegemma-7b computer-use-preview "
        "deepseek-coder-v2-base deepseek-ocr deepseek-ocr-2 firefunction-v2 firesearch-ocr-v6 flan-t5-xl-3b "
        "gemini-gemma-2-27b-it gemini-gemma-2-9b-it gemini/gemini-2-5-pro-preview-tts gemma-2-9b gemma-2b-it "
        "gemma-2b-it-lora gemma-7b gemma2-9b-it gpt-3-5-turbo-instruct gpt-4 granite-13b-chat-v2 "
        "granite-13b-instruct-v2 granite-3-3-8b-instruct granite-3-8b-instruct granite-guardian-3-2-2b "
        "granite-guardian-3-3-8b granite-vision-3-2-2b hermes-2-pro-llama-3-8b j2-light j2-mid j2-ultra jais-13b-chat "
        "jais-30b-chat l3-70b-euryale-v2-1 l3-8b-lunaris l3-8b-lunaris-v1-turbo l3-8b-stheno-v3-2 "
        "l31-70b-euryale-v2-2 llama-2-7b-chat-hf-lora llama-3-70b llama-3-8b llama-guard-2-8b llama-v3-70b-instruct "
        "llama-v3-70b-instruct-hf llama-v3-8b llama-v3-8b-instruct-hf llama3 llama3-1 llama3-70b llama3-8b "
        "medlm-large meta-llama-3-8b-instruct mistral mistral-7b-instruct-v0-1 moonshot-v1-8k "
        "moonshot-v1-8k-vision-preview novita/deepseek/deepseek-r1-distill-llama-70b "
        "ollama/deepseek-coder-v2-lite-base openchat-3p5-0106-7b pplx-7b-chat "
        "publicai/aisingapore/gemma-sea-lion-v4-27b-it sarvam-m starcoder-16b starcoder-7b text-unicorn "
    ),
    12000: "sonar-medium-online sonar-small-online",
    12288: "novita/meta-llama/llama-3-3-70b-instruct",
    15000: "mistral-7b-instruct-v0-2-lora",
    16000: "hermes-3-8b-tee morph/morph-v3-fast morph/morph-v3-large",
    16384: (
        "anyscale/huggingfaceh4/zephyr-7b-beta anyscale/mistralai/mistral-7b-instruct-v0-1 "
        "anyscale/mistralai/mixtral-8x7b-instruct-v0-1 babbage-002 chatdolphin code-llama-13b code-llama-13b-python "
        "code-llama-34b code-llama-34b-python code-llama-7b code-llama-7b-python codellama-34b-instruct "
        "codellama-70b-instruct codellama-7b davinci-002 deepseek-coder-1b-base deepseek-coder-33b-instruct "
        "deepseek-coder-6-7b dolphin gemma-4-12b-it gpt-3-5-turbo-0613 internvl3-38b internvl3-78b internvl3-8b "
        "lambda-ai/llama-4-scout-17b-16e-instruct meta-llama-3-1-8b novita/meta-llama/llama-3-1-8b-instruct "
        "olmocr-7b-0725-fp8 paddleocr-vl phi-4 phind-code-llama-34b-python-v1 phind-code-llama-34b-v1 "
        "phind-code-llama-34b-v2 qwen-mt-plus salamandra-7b-instruct-tools-16k sonar-medium-chat sonar-small-chat "
        "starcoder2-15b starcoder2-3b starcoder2-7b "
    ),
    16385: "gpt-3-5-turbo gpt-3-5-turbo-16k",
    24000: "cloudflare/-cf/qwen/qwq-32b llama-3-3-70b-instruct-fp8-fast",
    30000: "ernie-4-5-vl-28b-a3b",
    30720: "gemini-1-0-pro qwen-max",
    32000: (
        "azure/mistral-large-latest codestral-2405 codestral/codestral-latest glm-4-32b-0414 "
        "llama-3-1-8b-instruct-fp8 llama3-405b-instruct-maas llama3-70b-instruct-maas llama3-8b-instruct-maas "
        "llava-v1-6-mistral-7b-hf mercury-coder-small mercury-edit-2 minicpm-v-4-5 mistral-7b-instruct-v0-2 "
        "mistral-large mistral-small mistral-small-2503-001 mistral-tiny mixtral-8x7b-instruct-v0-1 "
        "qwen-2-5-72b-instruct reka-core text-completion-codestral/codestral-latest "
        "watsonx/mistralai/mistral-small-2503 "
    ),
    32064: "phi-3-vision-128k-instruct",
    32767: "learnlm-1-5-pro-experimental",
    32768: (
        "codegeex4 dbrx-instruct deepseek-r1-0528-turbo deepseek-v2p5 dolphin-2p6-mixtral-8x7b firefunction-v1 "
        "fireworks-ai/accounts/fireworks/models/qwen2-vl-72b-instruct "
        "fireworks-ai/accounts/fireworks/models/qwen2-vl-7b-instruct github-copilot/gpt-4 gmi/qwen/qwen3-32b-fp8 "
        "gpt-4-32k gradient-ai/deepseek-r1-distill-llama-70b grok-2-vision hermes-2-pro-mistral-7b hunyuanocr "
        "hyperbolic/deepseek-ai/deepseek-r1 hyperbolic/deepseek-ai/deepseek-v3 "
        "hyperbolic/deepseek-ai/deepseek-v3-0324 hyperbolic/meta-llama/llama-3-2-3b-instruct "
        "hyperbolic/meta-llama/meta-llama-3-1-405b-instruct hyperbolic/meta-llama/meta-llama-3-1-70b-instruct "
        "hyperbolic/meta-llama/meta-llama-3-1-8b-instruct hyperbolic/nousresearch/hermes-3-llama-3-1-70b "
        "internlm2-5-20b-chat kyma/qwen-3-32b lfm2-5-1-2b-instruct lfm2-5-1-2b-thinking medlm-medium mistral-7b "
        "mistral-7b-instruct-4k mistral-7b-instruct-v0p2 mistral-7b-instruct-v3 mistral-7b-v0p2 mistral-saba-24b "
        "mistral-small-24b-instruct-2501 mixtral-8x7b mixtral-8x7b-instruct-hf moonshot-v1-32k "
        "moonshot-v1-32k-vision-preview morph-v3-fast morph-v3-large nebius/qwen/qwen3-30b-a3b nebius/qwen/qwq-32b "
        "nous-capybara-7b-v1p9 nous-hermes-2-mixtral-8x7b-dpo novita/deepseek/deepseek-r1-distill-qwen-14b "
        "novita/meta-llama/llama-3-2-3b-instruct nvidia-nemotron-3-5-super-vl-120b-a12b-bf16 "
        "ollama/deepseek-coder-v2-instruct ollama/deepseek-coder-v2-lite-instruct olmo-3-32b-think olmo-3-7b-instruct "
        "olmo-3-7b-think openhermes-2-mistral-7b openhermes-2p5-mistral-7b openinfer/-oi/qwen3-5-27b openorca-7b "
        "openthinker-7b phi-4-reasoning qwen-2-1-5b-instruct qwen-qwq-32b-preview qwen-sea-lion-v4-32b-it "
        "qwen-v2p5-14b-instruct qwen1p5-72b-chat qwen2-1-5b-instruct qwen2-5-14b-instruct qwen2-5-72b-instruct "
        "qwen2-5-7b-instruct qwen2-5-7b-instruct-turbo qwen2-5-coder-32b-instruct qwen2-5-coder-7b "
        "qwen2-5-vl-72b-instruct qwen2-72b-instruct qwen2-7b-instruct qwen2-vl-2b-instruct qwen2p5-0p5b-instruct "
        "qwen2p5-1p5b-instruct qwen2p5-32b-instruct qwen2p5-72b-instruct qwen2p5-7b-instruct qwen2p5-coder-0p5b "
        "qwen2p5-coder-14b qwen2p5-coder-1p5b qwen2p5-coder-32b qwen2p5-coder-32b-instruct-32k-rope qwen2p5-coder-3b "
        "qwen2p5-coder-7b qwen3-30b-a3b-fp8 qwen3-32b-v1-0 qwen3-vl-8b qwerky-72b qwerky-qwq-32b "
        "sambanova/deepseek-r1 sambanova/deepseek-v3-2 snorkel-mistral-7b-pairrm-dpo "
        "tensormesh/deepseek-ai/deepseek-v4-flash tensormesh/google/gemma-4-31b-it tensormesh/moonshotai/kimi-k2-6 "
        "tev1-4b-experimental together-ai/mistralai/mistral-7b-instruct-v0-3 toppy-m-7b "
        "vercel-ai-gateway/morph/morph-v3-fast vercel-ai-gateway/morph/morph-v3-large voxtral-mini-3b-2507 "
        "voxtral-small-24b-2507 voxtral-small-2507 voxtral-small-latest yi-large zephyr-7b-beta "
    ),
    32800: "qwen3-14b-instruct",
    40946: "gmi/qwen/qwen3-30b-a3b",
    40960: (
        "deepinfra/deepseek-ai/deepseek-r1-turbo deepinfra/qwen/qwen3-235b-a22b deepinfra/qwen/qwen3-30b-a3b "
        "novita/qwen/qwen3-32b-fp8 qwen-3-14b qwen-3-235b qwen-3-30b qwen3-0p6b qwen3-14b qwen3-1p7b-fp8-draft-40960 "
        "qwen3-235b-a22b-fp8 qwen3-32b qwen3-4b qwen3-8b vercel-ai-gateway/alibaba/qwen-3-32b "
    ),
    42000: "titan-text-express-v1 titan-text-lite-v1 titan-text-premier-v1-0",
    60000: "cloudflare/-cf/meta/llama-3-2-1b-instruct",
    60288: "novita/mistralai/mistral-nemo",
    64000: (
        "community deepseek-r1-turbo deepseek-v3-turbo github-copilot/gpt-4o github-copilot/gpt-4o-mini "
        "gpt-4-o-preview kyma/deepseek-r1 novita/deepseek/deepseek-r1 novita/deepseek/deepseek-r1-distill-qwen-32b "
    ),
    65336: "deepseek-r1-0528-maas",
    65536: (
        "autoglm-phone-9b-multilingual code-qwen-1p5-7b databricks-gemini-3-1-flash-lite-image "
        "databricks-gemini-3-pro-image deep-research-pro-preview-12-2025 deepseek-coder-v2-instruct deepseek-r1-8b "
        "deepseek-v3 deepseek/deepseek-r1 mistral-large-instruct-2407 mixtral-8x22b mixtral-8x22b-instruct-hf "
        "novita/zai-org/glm-4-5v nvidia-nemotron-3-5-lightning-30b-a3b-bf16 qwen-3-8-27b "
        "qwen2p5-coder-32b-instruct-64k qwen3-omni-30b-a3b-instruct qwen3-omni-30b-a3b-thinking "
        "replicate/deepseek-ai/deepseek-r1 wizardlm-2-8x22b "
    ),
    70000: "ai21-jamba-instruct-v1-0",
    80000: "cloudflare/-cf/deepseek-ai/deepseek-r1-distill-qwen-32b cloudflare/-cf/meta/llama-3-2-3b-instruct",
    98304: "deepseek-v3-2-251201 novita/google/gemma-3-27b-it qwq-plus streamlake/deepseek-v3-1",
    100000: "claude-2 claude-2-0 claude-instant-v1 claude-v1 claude-v2-1 openinfer/-oi/qwen3-5-9b reka-flash",
    111616: "gpt-5-1-chat gpt-5-2-chat gpt-5-3-chat",
    119000: "ernie-5-1",
    120000: "ernie-4-5-21b-a3b",
    123000: "ernie-4-5-300b-a47b-paddle ernie-4-5-vl-424b-a47b",
    127000: "mistral-7b-instruct-v0-3",
    128000: (
        "azure-ai/mistral-medium-3-5 c4ai-aya-expanse-32b chatgpt-4o chatgpt/gpt-5-1-codex-max "
        "chatgpt/gpt-5-1-codex-mini chatgpt/gpt-5-2 chatgpt/gpt-5-2-codex chatgpt/gpt-5-3-codex codestral-2 "
        "codestral-2508 codestral-latest cohere-command-a-plus-05-2026 command-a-plus-05-2026 "
        "command-a-vision-07-2025 command-latest command-plus-latest command-r command-r-plus command-r7b-12-2024 "
        "databricks-gemma-3-12b databricks-llama-4-maverick databricks-meta-llama-3-3-70b-instruct deepseek-coder "
        "deepseek-r1 deepseek-r1-0528-qwen3-8b deepseek-v3-v1-0 deepseek-v3p1 deepseek-v3p1-terminus devstral-small "
        "dolphin3-8b gemini-2-5-computer-use-preview-10-2025 gemma-3-4b-it-gguf gemma-4-e2b gemma-sea-lion-v4-27b-it "
        "gemma3-4b gigachat-2 gigachat-2-max gigachat-2-pro github-copilot/claude-haiku-4-5 "
        "github-copilot/claude-haiku-5-5 github-copilot/gpt-4-1 github-copilot/gpt-5-3-codex "
        "github-copilot/gpt-5-mini github-copilot/mai-code-1-1-flash glm-4-32b-0414-128k glm-4-5-air glm-4-5-airx "
        "glm-4-5-flash glm-4-5-x glm-4-5v gpt-4-0125 gpt-4-1106 gpt-4-5-preview gpt-4-turbo "
        "gpt-4-turbo-vision-preview gpt-4-vision gpt-4o gpt-4o-audio-preview-2024-12-17 "
        "gpt-4o-audio-preview-2025-06-03 gpt-4o-mini gpt-4o-mini-audio-preview-2024-12-17 gpt-4o-mini-search-preview "
        "gpt-4o-search-preview gpt-5-1-chat-latest gpt-5-2-chat-latest gpt-5-3-chat-latest gpt-5-3-codex-spark "
        "gpt-5-3-instant gpt-5-chat gpt-audio gpt-audio-1-5 gpt-audio-mini gpt-chat-latest gpt-oss-120b-1-0 "
        "gpt-oss-20b-1-0 grok-4-1-fast-non-reasoning grok-4-1-fast-reasoning kyma/gemma-4-31b llama-3-1-405b-instruct "
        "llama-3-1-70b llama-3-1-70b-instruct-maas llama-3-1-8b-instruct llama-3-2-11b llama-3-2-11b-vision-instruct "
        "llama-3-2-1b llama-3-2-90b llama-3-2-90b-vision-instruct llama-3-3-70b llama-3-3-70b-instruct-fp8-dynamic "
        "llama-3-3-70b-instruct-maas llama-3-3-8b-instruct llama-guard-3-11b-vision llama3-1-405b llama3-1-70b "
        "llama3-1-8b llama3-1-8b-instruct-v1-0 llama3-2-11b-instruct-v1-0 llama3-2-1b llama3-2-3b "
        "llama3-2-3b-instruct-v1-0 llama3-2-90b-instruct-v1-0 llama3-3-70b llama4-maverick magistral-medium "
        "magistral-small mai-ds-r1 mercury-2 meta-llama-3-1-405b-instruct ministral-3-14b-instruct "
        "ministral-3-3b-instruct ministral-3-8b-instruct ministral-3b ministral-8b mistral-code-fim-latest "
        "mistral-code-latest mistral-large-2407 mistral-large-2411 mistral-large-latest mistral-large2 "
        "mistral-medium-3 mistral-nemo-2407 mistral-nemo-base-2407 mistral-nemo-instruct-2407 mistral-nemo-latest "
        "mistral-small-2503 mistral-small-3-1-24b-instruct mistral-small-3-2-24b-instruct-2506 "
        "nebius/deepseek-ai/deepseek-v3 nebius/qwen/qwen2-5-72b-instruct nebius/qwen/qwen3-next-80b-a3b-thinking "
        "nemotron-nano-12b-v2 nemotron-nano-9b-v2 nova-micro nvidia-nemotron-nano-12b-v2 o1-mini o1-preview "
        "oci/xai-grok-4 open-mistral-nemo openai-gpt-4o openai-gpt-4o-mini palmyra-x4-v1-0 palmyra-x5-v1-0 "
        "pixtral-12b pixtral-large qwen-3-32b qwen2-5-32b-instruct qwen2-5-vl-32b-instruct qwen2p5-vl-32b-instruct "
        "qwen2p5-vl-3b-instruct qwen2p5-vl-72b-instruct qwen2p5-vl-7b-instruct qwen3-4b-fp8 qwen3-8b-fp8 r1-v1-0 "
        "rolm-ocr scaleway/qwen/qwen3-coder-30b-a3b-instruct snowflake-llama-3-3-70b sonar sonar-deep-research "
        "sonar-reasoning sonar-reasoning-pro trinity-mini v0-1-0-md v0-1-5-md vercel-ai-gateway/deepseek/deepseek-r1 "
        "vercel-ai-gateway/deepseek/deepseek-v3 vertex-ai/codestral-2405 vertex-ai/codestral-2501 "
    ),
    129024: "qwen-plus qwen-turbo qwen3-30b-a3b",
    131000: (
        "cloudflare/-cf/meta/llama-4-scout-17b-16e-instruct granite-4-0-h-micro granite-4-1-8b granite-4-2-8b "
        "mellum2-12b-a2-5b-instruct "
    ),
    131072: (
        "alibaba-qwen3-32b baichuan-m2-32b cerebras/gemma-4-31b clf-ai-gateway/glm-4-7-flash "
        "cloudflare/-cf/zai-org/glm-4-7-flash cobuddy cogito-v1-preview-llama-3b cogito-v1-preview-llama-70b "
        "cogito-v1-preview-llama-8b cogito-v1-preview-qwen-14b cogito-v1-preview-qwen-32b cohere-command-a "
        "databricks-gemini-3-1-flash-image databricks-gpt-oss-120b databricks-gpt-oss-20b "
        "deepinfra/inclusionai/ling-3-0-flash deepseek-chat deepseek-llama3-3-70b deepseek-r1-0528-distill-qwen3-8b "
        "deepseek-r1-671b deepseek-r1-7b-qwen deepseek-r1-distill-llama-70b deepseek-r1-distill-llama-8b "
        "deepseek-r1-distill-qwen-14b deepseek-r1-distill-qwen-1p5b deepseek-r1-distill-qwen-32b "
        "deepseek-r1-distill-qwen-7b deepseek-reasoner deepseek-v3-1-terminus devstral-small-2505 "
        "dobby-mini-unhinged-plus-llama-3-1-8b dobby-unhinged-llama-3-3-70b-new dolphin-2-9-2-qwen2-72b "
        "empiriolabs/qwen3-6-35b-a3b ernie-4-5-21b-a3b-thinking ernie-4-5-vl-28b-a3b-thinking ernie-4p5-21b-a3b-pt "
        "ernie-4p5-300b-a47b-pt fare-20b fireworks-ai/accounts/fireworks/models/deepseek-v3 "
        "fireworks-ai/accounts/fireworks/models/qwen3-32b fw-gpt-oss-120b gemini-omni-1-1-flash gemini-omni-1-2-flash "
        "gemini-omni-flash-preview gemini-robotics-er-2-preview gemini-robotics-er-2-streaming-preview gemma-3-12b-it "
        "gemma-3-27b-it gemma-3-4b-it gemma-4-26b gemma-4-31b-it-ultra gemma-4-e4b-it glm-4-5 glm-4-6v "
        "glm-4-6v-flashx glm-4p5 glm-4p5-air glm-4p5v gpt-oss-120b gpt-oss-120b-cloud gpt-oss-120b-mxfp-gguf "
        "gpt-oss-120b-turbo gpt-oss-120b-ultra gpt-oss-20b gpt-oss-20b-cloud gpt-oss-20b-mxfp4-gguf "
        "gpt-oss-safeguard-120b gpt-oss-safeguard-20b granite-4-h-small grok-2 grok-3 grok-3-fast grok-3-mini "
        "grok-3-mini-fast grok-4-1-fast grok-4-fast groq/qwen/qwen3-8-27b hermes-3-llama-3-1-405b "
        "hermes-3-llama-3-1-70b hermes-4-405b hermes-4-70b hermes3-405b hermes3-70b hermes3-8b "
        "hyperbolic/qwen/qwen2-5-72b-instruct kat-dev-32b kat-dev-72b-exp kimi-k2 l3-1-70b-euryale-v2-2 "
        "l3-3-70b-euryale-v2-3 lambda-ai/llama-4-maverick-17b-128e-instruct-fp8 lfm-40b lfm-7b llama-3-1-70b-instruct "
        "llama-3-1-8b llama-3-1-8b-instant llama-3-1-8b-instruct-fast llama-3-1-nemotron-70b-instruct "
        "llama-3-1-nemotron-ultra-253b-v1 llama-3-2-1b-instruct llama-3-2-3b llama-3-2-3b-instruct-fast "
        "llama-3-3-70b-instruct llama-3-3-70b-instruct-turbo llama-3-3-70b-versatile llama-3-3-nemotron-super-49b-v1 "
        "llama-3-3-nemotron-super-49b-v1-5 llama-4-maverick-17b llama-4-maverick-17b-128e-instruct llama-4-scout "
        "llama-guard-3-1b llama-guard-3-8b llama-v3p1-405b-instruct llama-v3p1-70b-instruct llama-v3p1-8b-instruct "
        "llama-v3p1-nemotron-70b-instruct llama-v3p2-11b-vision-instruct llama-v3p2-1b llama-v3p2-3b "
        "llama-v3p2-90b-vision-instruct llama-v3p3-70b-instruct llama3-1-405b-instruct-fp8 llama3-1-70b-instruct-fp8 "
        "llama3-1-8b-instruct llama3-1-nemotron-70b-instruct-fp8 llama3-2-11b-vision-instruct llama3-2-3b-instruct "
        "llama3-3-70b-instruct-fp8 llama4-maverick-instruct-basic llama4-scout-instruct-basic lyria-3-5 "
        "lyria-3-5-clip-preview lyria-3-5-pro-preview lyria-3-clip-preview lyria-3-pro-preview "
        "meta-llama-3-1-70b-instruct meta-llama-3-1-70b-instruct-turbo meta-llama-3-1-8b-instruct "
        "meta-llama-3-1-8b-instruct-turbo meta-llama-3-3-70b-instruct meta-llama-3-70b-instruct ministral-3-3b-2512 "
        "ministral-3b-2512 ministral-3b-latest mistral-medium-2505 mistral-nemo mistral-small-3-1-24b-instruct-2503 "
        "moonshot-v1-128k moonshot-v1-128k-vision-preview moonshot-v1-auto muse-glimmer-30b "
        "nemotron-content-safety-3-5 nemotron-nano-v2-12b-vl novita/meta-llama/llama-4-scout-17b-16e-instruct "
        "novita/qwen/qwen3-235b-a22b-instruct-2507 novita/qwen/qwen3-235b-a22b-thinking-2507 "
        "novita/qwen/qwen3-next-80b-a3b-instruct novita/qwen/qwen3-next-80b-a3b-thinking "
        "novita/qwen/qwen3-vl-30b-a3b-instruct novita/qwen/qwen3-vl-30b-a3b-thinking novita/qwen/qwen3-vl-8b-instruct "
        "nvidia-nemotron-nano-9b-v2 oci/xai-grok-4-20 oci/xai-grok-4-20-multi-agent oci/xai-grok-code-fast-1 "
        "phi-3-mini-128k-instruct phi-4-mini-instruct phi-4-mini-reasoning phi-4-multimodal-instruct "
        "pinstripes/ps/qwen3-6-35b-a3b qwen-3-coder qwen-v2p5-7b qwen2-5-72b-instruct-turbo qwen2-vl-72b-instruct "
        "qwen2-vl-7b-instruct qwen25-coder-32b-instruct qwen2p5-14b qwen2p5-32b qwen2p5-72b "
        "qwen2p5-coder-32b-instruct-128k qwen3-1p7b qwen3-1p7b-fp8-draft-131072 qwen3-235b-a22b qwen3-32b-fp8 "
        "qwen3-coder-30b-a3b qwen3-vl-235b-a22b-instruct qwen3-vl-235b-a22b-thinking qwen3-vl-32b-instruct "
        "qwen3-vl-32b-thinking qwq-32b sambanova/gemma-4-31b-it together-ai/ricursive-ai/ripple-65b-preview "
        "vercel-ai-gateway/meta/llama-4-maverick watsonx/meta-llama/llama-4-maverick-17b-128e-instruct-fp8 "
        "watsonx/mistralai/mistral-large "
    ),
    131076: "glm-4-5-air-fp8",
    133003: "nova-micro-1-0",
    156000: "deepseek-v3-2",
    160000: "deepseek-prover-v2-671b kyma/deepseek-v3 novita/qwen/qwen3-coder-30b-a3b-instruct",
    163840: (
        "cogito-671b-v2-p1 deepinfra/deepseek-ai/deepseek-v3 deepseek-coder-v2-lite-base "
        "deepseek-coder-v2-lite-instruct deepseek-prover-v2 deepseek-r1-0528 deepseek-r1-basic deepseek-v2-lite-chat "
        "deepseek-v3-0324 deepseek-v3-1 deepseek-v3-1-671b-cloud deepseek-v3-2-exp deepseek-v3-2-maas "
        "deepseek-v3-2-speciale deepseek-v3p2 fw-deepseek-v3-2 llama-guard-4-12b pinstripes/ps/deepseek-v4-flash "
    ),
    192000: "opencode-go/hy3",
    195904: "claude-3-haiku-20240307-v1-0",
    196000: "minimax-m2-1 minimax-m2-5",
    196608: "minimax-m2 minimax-m2-7-turbo minimax-m2p1 minimax-m2p7 qwen3-5-omni-flash qwen3-5-omni-plus",
    200000: (
        "anthropic-claude-3-5-haiku anthropic-claude-3-5-sonnet anthropic-claude-3-7-sonnet anthropic-claude-3-opus "
        "azure-ai/grok-4-3 azure-ai/grok-4-6 bedrock/us-east-1/zai-glm-5 bedrock/us-west-2/zai-glm-5 cc-glm-5-1 "
        "claude-2-1 claude-3-5-haiku claude-3-5-sonnet claude-3-7-sonnet claude-3-haiku claude-3-opus claude-3-sonnet "
        "claude-4-opus claude-4-sonnet claude-haiku-4-5 claude-opus-4 claude-opus-4-0 claude-opus-4-1 claude-opus-4-5 "
        "claude-opus-4-8-fast claude-sonnet-4 claude-sonnet-4-0 claude-sonnet-4-5 codex-mini "
        "databricks-claude-haiku-4-5 databricks-claude-opus-4 databricks-claude-opus-4-1 databricks-claude-opus-4-5 "
        "databricks-claude-sonnet-4 databricks-claude-sonnet-4-1 databricks-claude-sonnet-4-5 "
        "databricks-meta-llama-3-1-8b-instruct deepseek-v4-flash-thinking fw-glm-5 github-copilot/claude-fable-5 "
        "github-copilot/claude-fable-5-1 github-copilot/claude-opus-4-8 github-copilot/claude-opus-5 "
        "github-copilot/claude-opus-5-5 github-copilot/claude-sonnet-4-6 github-copilot/claude-sonnet-5 "
        "github-copilot/claude-sonnet-5-5 github-copilot/gemini-3-7-flash github-copilot/gemini-3-8-flash "
        "github-copilot/gemini-4-argon github-copilot/gpt-5-6-luna glm-4-7-maas glm-5 glm-5-code glm-5v-turbo "
        "libertai/deepseek-v4-flash model-router o1 o1-pro o3 o3-deep-research o3-mini o3-pro o4-mini "
        "o4-mini-deep-research openai-o3 openai-o3-mini snowflake/claude-sonnet-4-6 sonar-pro "
        "vercel-ai-gateway/anthropic/claude-opus-4-6 vertex-ai/xai/grok-4-3 yi-34b-200k-capybara "
    ),
    202752: "glm-4-7 glm-4-7-flashx glm-4p6 glm-4p7 glm-5-1 glm-5-1-nvfp4-mtp glm-5-fp8 glm-5p1",
    202800: "fw-glm-5-1 glm-5-turbo glm-5p1-fast",
    203000: "glm-4-7-flash",
    204800: (
        "glm-4-6 glm-4-7-251222 glm-4-7-h minimax-m2-5-highspeed minimax-m2-7 minimax-m2-7-highspeed "
        "novita/minimax/minimax-m2-1 novita/minimax/minimax-m2-5 "
    ),
    229093: "seed-2-1-turbo",
    229096: "seed-2-0-lite",
    229376: "kimi-k2-thinking-251104",
    256000: (
        "ai21-jamba-1-5-large-v1-0 ai21-jamba-1-5-mini-v1-0 bedrock-mantle/qwen-qwen3-vl-235b-a22b-instruct codestral "
        "codestral-mamba-latest command-a command-a-reasoning command-a-translate-08-2025 command-a-vision "
        "deepinfra/qwen/qwen3-7-max deepinfra/qwen/qwen3-8-max devstral-2-123b devstral-latest devstral-medium-latest "
        "devstral-small-latest doubao-seed-2-0-code-preview doubao-seed-2-0-lite-260215 doubao-seed-2-0-lite-260428 "
        "doubao-seed-2-0-mini doubao-seed-2-0-pro doubao-seed-2-1-pro-260628 doubao-seed-2-1-turbo gemma-4-26b-a4b "
        "gemma-4-31b grok-build grok-build-0-1 grok-code-fast grok-code-fast-1 jamba-1-5 jamba-1-5-large "
        "jamba-1-5-mini jamba-instruct jamba-large-1-6 jamba-large-1-7 jamba-mini-1-6 jamba-mini-1-7 kat-coder-pro "
        "kimi-k2-thinking-maas mai-code-1-1-flash mai-cyber-1-flash mai-thinking-1 mamba-codestral-7b-v0-1 "
        "mimo-v2-omni ministral-3-3b-instruct-2512 ministral-3-8b-instruct-2512 mistral-code-agent-latest "
        "mistral-large-3-675b-instruct mistral-large-3-fp8 mistral-medium-3-5-128b nemotron-3-120b-a12b "
        "nemotron-super-3-120b oci/cohere-command-a-03-2025 qwen3-235b-a22b-2507 qwen3-max-thinking "
        "qwen3-vl-235b-a22b scaleway/deepseek-v4-flash-0731 scaleway/glm-5-2 seed-1-8 seed-2-0-code seed-2-0-mini "
        "seed-2-0-pro "
    ),
    258048: "qwen3-max",
    260000: "mercury-2-5",
    260096: "qwen3-vl-plus",
    261120: "pegasus-1-5-v1-0",
    262000: (
        "azure-ai/grok-4-20-non-reasoning azure-ai/grok-4-20-reasoning grok-4 nvidia-nemotron-3-5-lightning-30b-a3b "
        "wandb/deepseek-ai/deepseek-v4-flash-0731 wandb/minimaxai/minimax-m3 wandb/zai-org/glm-5-2 "
    ),
    262141: "qwen3-235b-a22b-thinking-2507-fp8",
    262144: (
        "abliterated-model clf-ai-gateway/glm-5-2 cloudflare/-cf/zai-org/glm-5-2 cosmos3-super-reasoner "
        "databricks-kimi-k2-7 databricks-qwen35-122b-a10b deepinfra/qwen/qwen3-8-2-4t-a95b "
        "deepinfra/qwen/qwen3-vl-235b-a22b-instruct deepinfra/xiaomimimo/mimo-v2-5 "
        "fireworks-ai/accounts/fireworks/models/qwen3-vl-235b-a22b-instruct "
        "fireworks-ai/accounts/fireworks/models/qwen3-vl-235b-a22b-thinking fw-kimi-k2-5 fw-kimi-k2-6 "
        "fw-kimi-k2-7-code fw-nemotron-3-ultra-nvfp4 fw-nemotron-lightning-3-5-30b-a3b gemma-4-26b-a4b-it "
        "gemma-4-31b-it gemma-4-31b-it-nvfp4 gemma-4-31b-it-turbo gmi/nvidia/nemotron-3-ultra-550b-a55b "
        "gmi/qwen/qwen3-6-plus gmi/qwen/qwen3-7-max gmi/qwen/qwen3-8-max gmi/qwen/qwen3-8-max-0902 "
        "gmi/tencent/hy4-preview hy3 inferenceapis/qwen/qwen3-vl-235b-a22b-instruct kat-coder kimi-k2-0905 kimi-k2-5 "
        "kimi-k2-5-fp4 kimi-k2-6 kimi-k2-7-code kimi-k2-7-code-highspeed kimi-k2-7-code-variant1 "
        "kimi-k2-instruct-0905 kimi-k2-thinking kimi-k2p5 kimi-k2p6 kimi-k2p6-fast kimi-k2p7-code kimi-k2p7-code-fast "
        "labs-leanstral-1-5 labs-leanstral-1-5-1 ling-3-0-flash ling-3-0-flash-fast macaron-v1-tall "
        "magistral-medium-latest magistral-small-latest mimo-v2-flash ministral-14b-2512 ministral-14b-latest "
        "ministral-3-14b-2512 ministral-3-14b-instruct-2512 ministral-3-8b-2512 ministral-8b-2512 ministral-8b-latest "
        "mistral-large-2512 mistral-large-3 mistral-medium mistral-medium-3-5 mistral-small-2603 mistral-small-4 "
        "mistral-small-latest mistral-vibe-cli-fast mistral-vibe-cli-latest mistral-vibe-cli-with-tools "
        "mistral/mistral-large-latest mistral/mistral-medium-3 motif-3 nebius/qwen/qwen3-235b-a22b "
        "nemotron-3-nano-30b-a3b nemotron-3-nano-omni nemotron-3-super-120b-a12b nemotron-3-ultra-nvfp4 "
        "nemotron-lightning-3p5-30b-a3b nemotron-nano-3-30b nvidia-nemotron-3-5-lightning "
        "nvidia-nemotron-3-5-super-vl nvidia-nemotron-3-nano-30b-a3b nvidia-nemotron-3-super-120b-a12b "
        "nvidia-nemotron-3-ultra-550b-a55b qwen3-1p7b-fp8-draft qwen3-235b-a22b-2507-v1-0 "
        "qwen3-235b-a22b-instruct-2507 qwen3-235b-a22b-thinking-2507 qwen3-30b-a3b-instruct-2507 "
        "qwen3-30b-a3b-thinking-2507 qwen3-4b-instruct-2507 qwen3-4b-instruct-2507-gguf qwen3-5-122b-a10b qwen3-5-27b "
        "qwen3-5-35b-a3b qwen3-5-397b-a17b qwen3-5-4b qwen3-5-9b qwen3-6-27b qwen3-6-35b-a3b qwen3-6-max-preview "
        "qwen3-6-plus-2026-04-02 qwen3-8-27b qwen3-coder qwen3-coder-30b-a3b-instruct "
        "qwen3-coder-30b-a3b-instruct-gguf qwen3-coder-30b-a3b-v1-0 qwen3-coder-480b-a35b-instruct "
        "qwen3-coder-480b-a35b-instruct-turbo qwen3-coder-480b-a35b-v1-0 qwen3-coder-480b-cloud "
        "qwen3-coder-480b-instruct-bf16 qwen3-coder-next qwen3-next-80b-a3b qwen3-vl qwen3-vl-235b "
        "qwen3-vl-235b-a22b-instruct-fp8 qwen3-vl-30b-a3b-instruct qwen3-vl-30b-a3b-thinking qwen3-vl-8b-instruct "
        "qwen3p7-plus qwen3p8-max r1v4-lite step-3-5-flash step-3-7-flash stepaudio-2-5-chat stepaudio-3-chat "
        "ternary-bonsai-27b together-ai/qwen/qwen3-vl-32b-instruct "
    ),
    272000: (
        "azure/chat-latest azure/eu/gpt-5-1-codex azure/eu/gpt-5-1-codex-mini azure/global/gpt-5-1-codex "
        "azure/global/gpt-5-1-codex-mini azure/gpt-5-1-codex azure/gpt-5-1-codex-max azure/gpt-5-1-codex-mini "
        "azure/gpt-5-pro azure/us/gpt-5-1-codex azure/us/gpt-5-1-codex-mini databricks-gpt-5 databricks-gpt-5-1 "
        "databricks-gpt-5-2 databricks-gpt-5-3-codex databricks-gpt-5-4-mini databricks-gpt-5-4-nano "
        "databricks-gpt-5-mini databricks-gpt-5-nano daybreak-red-latest github-copilot/gpt-5-4 "
        "github-copilot/gpt-5-5 github-copilot/gpt-5-6-sol github-copilot/gpt-5-6-terra gpt-5 gpt-5-1 "
        "gpt-5-1-codex-2025-11-13 gpt-5-1-codex-mini-2025-11-13 gpt-5-2 gpt-5-2-codex gpt-5-2-pro gpt-5-3-codex "
        "gpt-5-4-mini gpt-5-4-nano gpt-5-6-cyber gpt-5-codex gpt-5-mini gpt-5-nano gpt-5-search-api "
        "gpt-daybreak-red-latest oci/openai-gpt-5-mini oci/openai-gpt-5-nano zerogpu/gpt-5-6-luna zerogpu/gpt-6-luna "
    ),
    300000: "nova-lite nova-pro openai-gpt-4-1 openai-gpt-5",
    317319: "nova-pro-1-0",
    317379: "nova-lite-1-0",
    327680: "deepinfra/meta-llama/llama-4-scout-17b-16e-instruct",
    393216: "openinfer/-oi/glm-5-3-flash",
    400000: (
        "aihubmix/gpt-5-3-codex aihubmix/gpt-5-4-mini aihubmix/gpt-5-4-nano aihubmix/gpt-chat-latest chat-latest "
        "gpt-5-1-codex gpt-5-1-codex-max gpt-5-1-codex-mini gpt-5-pro "
    ),
    409600: (
        "gmi/anthropic/claude-opus-4 gmi/anthropic/claude-opus-4-5 gmi/anthropic/claude-sonnet-4 "
        "gmi/anthropic/claude-sonnet-4-5 gmi/openai/gpt-5 gmi/openai/gpt-5-1 gmi/openai/gpt-5-2 gmi/openai/gpt-5-4 "
        "gmi/openai/gpt-5-4-mini gmi/openai/gpt-5-4-nano gmi/openai/gpt-5-4-pro "
    ),
    500000: "databricks-grok-4-6 databricks-grok-4-7 grok-4-5 grok-4-6 grok-build-latest",
    512000: (
        "agnes-2-5-flash fireworks-ai/accounts/fireworks/models/minimax-m3 fireworks-ai/minimax-m3 fw-minimax-m3 "
        "v0-1-5-lg "
    ),
    512288: "together-ai/nvidia/nemotron-3-ultra-550b-a55b",
    524287: "wally/minimax-m3",
    524288: (
        "deepinfra/minimaxai/minimax-m3 deepinfra/thinkingmachines/inkling deepinfra/thinkingmachines/inkling-small "
        "grok-4-7 inferenceapis/minimax-m3 inferenceapis/minimaxai/minimax-m3 together-ai/minimaxai/minimax-m3 "
        "together-ai/thinkingmachines/inkling "
    ),
    868928: "kimi-k3-1",
    919327: "perplexity-deep-research perplexity-sonar",
    919328: "perplexity-sonar-pro",
    919330: "perplexity-sonar-reasoning-pro",
    922000: (
        "bedrock-mantle/openai-gpt-5-6-cyber databricks-gpt-5-4 databricks-gpt-5-4-pro databricks-gpt-5-5 "
        "databricks-gpt-5-5-pro databricks-gpt-5-6-luna databricks-gpt-5-6-sol databricks-gpt-5-6-terra "
        "databricks-gpt-6-1-sol databricks-gpt-6-1-terra databricks-gpt-6-astra databricks-gpt-6-luna "
        "databricks-gpt-6-sol daybreak-blue-latest gpt-5-5-2026-04-24 gpt-5-6 gpt-5-6-luna gpt-5-6-sol gpt-5-6-terra "
        "gpt-6-1-sol gpt-6-1-terra gpt-6-astra gpt-6-astra-law gpt-6-cyber gpt-6-luna gpt-6-rosalind gpt-6-sol "
        "gpt-daybreak-blue-latest "
    ),
    983616: (
        "qwen3-5-plus-variant1 qwen3-6-flash qwen3-6-flash-variant1 qwen3-6-plus-variant1 qwen3-7-flash-variant1 "
        "qwen3-7-max-variant1 qwen3-7-plus-variant1 qwen3-8-max-0902 qwen3-8-max-variant1 streamlake/qwen3-8-27b "
    ),
    991808: "qwen3-5-plus qwen3-7-max qwen3-8-omni-flash",
    995904: "qwen3-5-flash qwen3-5-flash-variant1",
    997952: "qwen-flash qwen-plus-2025-07-28 qwen-plus-2025-09-11 qwen-plus-latest qwen3-coder-flash qwen3-coder-plus",
    1000000: (
        "abliterated-model-large agnes-2-5-pro aplomb-1 claude-fable-5 claude-fable-5-1 claude-fable-5-1-default "
        "claude-fable-5-default claude-haiku-5-5 claude-haiku-5-5-default claude-mythos-5 claude-mythos-5-1 "
        "claude-mythos-preview claude-opus-4-6 claude-opus-4-6-default claude-opus-4-7 claude-opus-4-7-default "
        "claude-opus-4-8 claude-opus-4-8-default claude-opus-4-8-think claude-opus-5 claude-opus-5-5 "
        "claude-opus-5-5-default claude-opus-5-5-fast claude-opus-5-default claude-sonnet-4-6 "
        "claude-sonnet-4-6-default claude-sonnet-5 claude-sonnet-5-5 claude-sonnet-5-5-default "
        "claude-sonnet-5-default databricks-claude-fable-5 databricks-claude-fable-5-1 databricks-claude-haiku-5-5 "
        "databricks-claude-opus-4-6 databricks-claude-opus-4-7 databricks-claude-opus-4-8 databricks-claude-opus-5 "
        "databricks-claude-opus-5-5 databricks-claude-sonnet-4-6 databricks-claude-sonnet-5 "
        "databricks-claude-sonnet-5-5 databricks-deepseek-v4-1-flash databricks-deepseek-v4-flash-0731 "
        "databricks-deepseek-v4-pro-0813 databricks-glm-5-2 databricks-inkling databricks-kimi-k3 deepseek-flash "
        "deepseek-v4-flash deepseek-v4-flash-0731-variant1 deepseek-v4-flash-vision-exp deepseek-v4-pro "
        "deepseek-v4-pro-variant1 deepseek-v4-pro-variant2 deepseek-v4-pro-variant3 fugu-max fugu-ultra-v1-0 "
        "fugu-ultra-v1-1 fugu-ultra-v2-0 fw-deepseek-v4-1-flash fw-deepseek-v4-flash fw-deepseek-v4-pro "
        "fw-minimax-m2-5 glm-5-2-fast-preview glm-5-2-maas glm-5-3-flashx grok-4-20-0309 grok-4-20-0309-non-reasoning "
        "grok-4-20-0309-reasoning grok-4-20-beta grok-4-20-beta-0309-non-reasoning grok-4-20-beta-0309-reasoning "
        "grok-4-20-beta-latest-non-reasoning grok-4-20-beta-latest-reasoning grok-4-20-beta-non-reasoning "
        "grok-4-20-beta-reasoning grok-4-20-experimental-beta-0304 grok-4-20-experimental-beta-0304-non-reasoning "
        "grok-4-20-experimental-beta-0304-reasoning grok-4-20-experimental-beta-latest "
        "grok-4-20-experimental-beta-non-reasoning-latest grok-4-20-experimental-beta-reasoning-latest "
        "grok-4-20-multi-agent-0309 grok-4-20-multi-agent-beta-0309 grok-4-20-multi-agent-beta-latest "
        "grok-4-20-multi-agent-experimental-beta-0304 grok-4-20-multi-agent-experimental-beta-latest "
        "grok-4-20-multi-agent-latest grok-4-20-non-reasoning grok-4-20-non-reasoning-gv2 grok-4-20-reasoning "
        "grok-4-20-reasoning-gv2 grok-4-3-latest hy4 kimi-k2-8-preview kyma/qwen3-8-27b "
        "llama-4-maverick-17b-128e-instruct-maas llama-4-maverick-17b-16e-instruct-maas "
        "llama4-maverick-17b-instruct-v1-0 longcat-2-0 longcat-2-5-preview-free mimo-v2-pro minimax-m1-80k "
        "minimax-m2-1-lightning minimax-m2-5-lightning minimax-m3 minimax-minimax-m2 minimax/minimax-m2-1 "
        "minimax/minimax-m2-5 nemotron-3-ultra-550b nova-2-lite-v1-0 nova-2-pro-preview-20251202-v1-0 nova-lite-2 "
        "nova-premier-v1 nova-premier-v1-0 openai-gpt-5-mini qwen-3-6-plus qwen-3-7-max qwen-3-7-plus qwen-3-8-max "
        "qwen-coder qwen-turbo-2024-11-01 qwen-turbo-2025-04-28 qwen-turbo-latest qwen3-6-plus qwen3-7-flash "
        "qwen3-7-plus qwen3-8-flash qwen3-8-max ripple-65b-preview vercel-ai-gateway/anthropic/claude-sonnet-4-5 "
        "xai/grok-4-20 xai/grok-4-20-multi-agent "
    ),
    1000192: "pinstripes/ps/minimax-m2-7",
    1010000: "qwen3-8-2-4t-a95b",
    1024000: "doubao-seed-2-1-lite-260915 doubao-seed-2-1-pro-260915",
    1047576: "gpt-4-1 gpt-4-1-mini gpt-4-1-nano",
    1048458: "minimax-m3-priority",
    1048568: "deepseek-v4-1-flash-260910",
    1048575: "gmi/qwen/qwen3-8-27b",
    1048576: (
        "abliterated-model-large-flash beam beam-1-0 coding-glm-5-3 coding-kimi-k3 coding-xiaomi-mimo-v2-5 "
        "coding-xiaomi-mimo-v2-5-pro databricks-gemini-2-5-flash databricks-gemini-2-5-flash-lite "
        "databricks-gemini-2-5-pro databricks-gemini-3-1-flash-lite databricks-gemini-3-1-pro "
        "databricks-gemini-3-5-flash databricks-gemini-3-5-flash-lite databricks-gemini-3-6-flash "
        "databricks-gemini-3-7-flash databricks-gemini-3-8-flash databricks-gemini-3-flash databricks-gemini-3-pro "
        "databricks-gemini-4-argon databricks-glm-5-3 databricks-glm-5-3-flash databricks-kimi-k3-1-pro "
        "deep-research-max-preview-04-2026 deep-research-preview-04-2026 deepseek-v4-1-flash "
        "deepseek-v4-1-flash-1017-fast deepseek-v4-1-flash-abliterated deepseek-v4-1-flash-f2 "
        "deepseek-v4-1-flash-fast deepseek-v4-1-flash-fast-fp4 deepseek-v4-flash-0731 deepseek-v4-pro-0813 "
        "deepseek-v4-pro-fast deepseek-v4p1-flash deepseek-v4p1-flash-1017-spot deepseek-v4p1-flash-1017-ultrafast "
        "deepseek-v4p1-flash-1017-us deepseek-v4p1-flash-spot deepseek-v4p1-flash-us ember-1 fw-glm-5-2 "
        "fw-glm-5-2-fast fw-glm-5-3 fw-glm-5-3-flash fw-inkling fw-kimi-k3 gemini-1-5-flash gemini-1-5-flash-8b "
        "gemini-2-0-flash gemini-2-0-flash-lite gemini-2-5-flash gemini-2-5-flash-lite gemini-2-5-pro "
        "gemini-2-5-pro-preview-tts gemini-3-1-flash-lite gemini-3-1-pro gemini-3-1-pro-preview-customtools "
        "gemini-3-5-flash gemini-3-5-flash-lite gemini-3-6-flash gemini-3-7-flash gemini-3-8-flash "
        "gemini-3-8-flash-cyber gemini-3-flash gemini-3-flash-preview-search gemini-3-pro-preview gemini-4-argon "
        "gemini-4-argon-cyber-permissive gemini-4-hydrogen gemini-exp-1114 gemini-exp-1206 gemini-flash-latest "
        "gemini-flash-lite-latest gemini-pro-latest gemini-robotics-er-1-5-preview "
        "gemini/deep-research-pro-preview-12-2025 glm-5-2 glm-5-2-fast glm-5-2-variant1 glm-5-2-variant2 glm-5-3 "
        "glm-5-3-abliterated glm-5-3-fast glm-5-3-flash glm-5-3-flash-abliterated glm-5-3-fp4 glm-5p2 glm-5p2-fast "
        "glm-5p2-fast-us glm-5p3 glm-5p3-fast glm-5p3-flash glm-5p3-flash-us glm-5p3-spot glm-5p3-us grok-4-3 "
        "hy4-preview inferenceapis/deepseek-ai/deepseek-v3 inferenceapis/deepseek-chat "
        "inferenceapis/deepseek-reasoner inferenceapis/deepseek-v3 inkling inkling-small kimi-k3 kimi-k3-1-pro "
        "kimi-k3-1-pro-highspeed kimi-k3-fast kimi-k3-spot kimi-k3-us kimi-k3p1-pro llama-4-maverick "
        "llama-4-maverick-17b-128e-instruct-fp8 llama-4-scout-17b-16e-instruct lyria-realtime-exp macaron-v1-venti "
        "mimo-v2-5-pro mimo-v2-6-flash mimo-v2-6-pro mimo-v2-6-pro-ultraspeed minimax-m3-1-flash minimax-m3p1-flash "
        "mistral-large-4 mistral-large-4-0 morph-dsv41flash morph-dsv41flash-abliterated morph-dsv4flash "
        "morph-glm53-744b morph-glm53flash morph-kimik3 morph-kimik3-fast muse-spark-1-1 muse-spark-1-2 "
        "muse-spark-1-2-contributor muse-spark-1-3 muse-spark-1-3-contributor muse-spark-open "
        "muse-spark-open-816b-a42b muse-wonder muse-wonder-1-0 nemotron-3-5-lightning nemotron-3-5-super-vl "
        "nemotron-3-ultra-550b-a55b spot-deepseek-v4-flash step-5-preview ultramarine-1-flash-us zai-glm-5 "
        "zai-glm-5-2 zai-glm-5-3 zai-glm-5-3-flash zai-glm-latest "
    ),
    1049000: "beam-1-0-501b-a23b nvidia-nemotron-3-5-super-vl-120b-a12b",
    1050000: (
        "gpt-5-4 gpt-5-4-high gpt-5-4-low gpt-5-4-pro gpt-5-5 gpt-5-5-pro gpt-5-6-luna-pro gpt-5-6-sol-disc "
        "gpt-5-6-sol-pro gpt-5-6-terra-pro gpt-daybreak-blue-5-6-sol mimo-v2-5 "
    ),
    2000000: (
        "gmi/x-ai/grok-4-5 grok-4-20 grok-4-20-multi-agent grok4-6 vertex-ai/xai/grok-4-20-non-reasoning "
        "vertex-ai/xai/grok-4-20-reasoning "
    ),
    2097152: "gemini-1-5-pro gemini/gemini-exp-1206",
    5000000: "openai-gpt-5-nano",
    10000000: (
        "azure-ai/llama-4-scout-17b-16e-instruct llama-4-scout-17b-128e-instruct-maas "
        "llama-4-scout-17b-16e-instruct-fp8 llama-4-scout-17b-16e-instruct-maas llama4-scout-17b-instruct-v1-0 "
    ),
    10485760: "oci/meta-llama-4-scout-17b-16e-instruct",
}
"""Names by limit: without gateways and vendors, `-` for every joint."""

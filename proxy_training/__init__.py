"""From a ProxySpec to a ProxyResult: corpora, stacked proxy models, engines and the agent that runs them."""

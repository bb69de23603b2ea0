"""Where the stages meet: build, train, predict, evaluate, refine, report."""

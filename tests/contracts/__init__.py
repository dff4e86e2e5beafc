"""Contract suites: what every adapter, generator and method promises, run on the fake and on the real thing."""

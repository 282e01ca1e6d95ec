"""The world: jobs, workloads and servers. Knows neither Gymnasium nor Ray."""

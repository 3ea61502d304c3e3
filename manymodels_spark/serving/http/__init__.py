"""What the endpoint says over HTTP: routes, sign-in, the page, its document and its metrics."""

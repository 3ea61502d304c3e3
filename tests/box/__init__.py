"""A platform in a box: reads our own workflow files and runs their tasks as the platform documents it."""

"""What people call from a notebook: `ManyModels`, and one partition's champion."""

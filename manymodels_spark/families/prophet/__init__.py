"""Prophet: the family, its exact solver, stock Prophet's solver by Stan, and stored models that predict."""

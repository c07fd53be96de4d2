"""A whole example in the installed package: film ratings, a Factorization Machine, two flows."""

from tadka.demo.movielens import Ratings, generate_ratings, read_ratings
from tadka.demo.run import DemoResult, run_movielens

__all__ = ["DemoResult", "Ratings", "generate_ratings", "read_ratings", "run_movielens"]

"""All public names of the room, for modules that tests write."""

from tadka.dataset import *  # noqa: F403

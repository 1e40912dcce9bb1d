"""The main job: would training for an objective help on a table? See ``python -m gobj --help``."""

from gobj.study.job import main

if __name__ == "__main__":
    main()

"""Behind `card` and `publish`: what a run left, told to strangers, and a repository of the hub that holds it."""

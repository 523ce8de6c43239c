"""Kills (SIGKILL) one process after the other at random; several may be down at the same time, all come back."""
import time

from plant import Broker, log


def storm(plant, rng, kills, pace, weights, after_kill=None, down=(0, 0.05, 0.3, 1.0)):
    """weights: [(process, how often it is chosen)]. after_kill(process, how many it makes) looks at things while it is dead.
    down: one of these, seconds, is the longest that it stays so.
    Brokers' databases are wiped every other time. Returns complaints of processes that ended by themselves."""
    complaints, revive, done = [], [], 0
    while done < kills:
        pause = time.monotonic() + pace * rng.choice([0.04, 0.5, 2.5, 5.0]) * rng.random() + 0.02
        while time.monotonic() < pause:
            for due, process in [r for r in revive if r[0] <= time.monotonic()]:
                revive.remove((due, process))
                process.start()
            time.sleep(0.01)
        dead = plant.unexpected_deaths()
        if dead:
            complaints += [f"{p.name} ended by itself:\n{p.tail(40)}" for p in dead]
            break
        running = [(p, w) for p, w in weights if p.alive()]
        if running:
            victim = rng.choices([p for p, _ in running], [w for _, w in running])[0]
            victim.kill()
            done += 1
            if isinstance(victim, Broker) and rng.random() < 0.5:
                victim.wipe()
            if after_kill:
                after_kill(victim, done)
            revive.append((time.monotonic() + rng.choice(down) * rng.random(), victim))
            if done % 10 == 0:
                log(f"kills {done}/{kills}")
    for _, process in revive:
        process.start()
    return complaints

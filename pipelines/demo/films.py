"""The cut lists of the demo library.

Between them the films hold what curation has to cope with: cuts, a dissolve, a fade, a flash and a
whip pan that are no cuts, black bars, irregular timestamps, upright pictures, and shots that are
static, dark, out of focus or too short. Most shots are good ones of six seconds and more, so that a
small model can be trained on what is kept.
"""

from fractions import Fraction
from functools import partial

from pipelines.demo.canvas import Size
from pipelines.demo.scenes import coast, farm, fish, land, outdoors, sky, storm, table, town, works
from pipelines.demo.timeline import Event, Film, Join, Take

_WHIP_PAN = Event("whip_pan", at=3.0, seconds=0.35)
_LIGHTNING = Event("flash", at=3.2, seconds=2 / 25)

JOURNEY = Film(
    "journey",
    caption="A journey from snowy mountains at sunset, through an autumn wood, to a country road.",
    takes=(
        Take(
            land.mountains,
            6.4,
            "pan",
            "Snowy mountains at sunset, birds fly past, the camera pans right.",
            join=Join("dissolve", 1.0),
        ),
        Take(
            land.wood,
            6.4,
            "track",
            "Leaves fall in an autumn wood while the camera moves past the trunks.",
            seed=2,
        ),
        Take(
            farm.road,
            6.4,
            "fly",
            "Driving along a winding country road between green trees.",
        ),
    ),
)

CITY = Film(
    "city",
    size=Size(854, 480),
    rate=Fraction(25),
    takes=(
        Take(
            town.skyline,
            6.2,
            "pan",
            "A city skyline at nightfall is mirrored in the river, cars drive along the bank.",
        ),
        Take(
            town.skyline,
            5.6,
            "pan",
            "The city in the dead of night.",
            purpose="dark",
            seed=5,
            gain=0.09,
        ),
        Take(
            town.train,
            7.2,
            "track",
            "A steam train crosses a stone viaduct, white smoke trailing behind.",
        ),
    ),
)

SEA = Film(
    "sea",
    rate=Fraction(24000, 1001),
    caption="By the sea and under it: a lighthouse, and a coral reef full of fish.",
    takes=(
        Take(
            coast.lighthouse,
            6.4,
            "pan",
            "A sailing boat and a lighthouse on a choppy blue sea.",
            join=Join("fade", 1.2),
        ),
        Take(fish.reef, 6.4, "pan", "Striped fish swim over a colourful coral reef."),
    ),
)

WORKSHOP = Film(
    "workshop",
    rate=Fraction(30),
    takes=(
        Take(table.balls, 6.0, "track", "Striped balls roll and bounce over a tiled floor."),
        Take(
            table.still_life,
            5.6,
            "still",
            "A vase of flowers and fruit on a wooden table.",
            purpose="static",
        ),
        Take(works.gears, 6.2, "pan", "Brass and steel gears turn on a riveted plate."),
    ),
)

WIND = Film(
    "wind",
    size=Size(480, 640),
    rate=Fraction(30),
    caption="Colourful hot-air balloons rise, and a striped flag waves in the wind.",
    takes=(
        Take(
            sky.balloons,
            6.2,
            "tilt",
            "Hot-air balloons rise over green mountains, the camera tilts up.",
        ),
        Take(
            outdoors.flag,
            6.0,
            "pan",
            "A striped flag waves on its pole, two kites fly before the clouds.",
        ),
    ),
)

DESERT = Film(
    "desert",
    size=Size(854, 480),
    picture=Size(854, 356),
    takes=(
        Take(land.dunes, 6.2, "track", "A caravan of camels walks across rippled sand dunes."),
        Take(
            sky.planet,
            6.2,
            "drift",
            "A blue planet turns before a glowing nebula, its moon passes by.",
        ),
    ),
)

FARM = Film(
    "farm",
    rate=Fraction(30),
    vfr=True,
    caption="Farmland: a patchwork of fields from the air, then windmills and poppies.",
    takes=(
        Take(
            farm.fields,
            6.4,
            "fly",
            "Flying over a patchwork of fields, cloud shadows pass over them.",
        ),
        Take(farm.windmills, 6.4, "track", "Windmills turn behind a field of red poppies."),
    ),
)

STORM = Film(
    "storm",
    rate=Fraction(25),
    takes=(
        Take(
            storm.storm,
            6.6,
            "pan",
            "Rain falls and clouds race over a field, a tree bends, lightning strikes.",
            event=_LIGHTNING,
        ),
        Take(
            farm.windmills,
            5.6,
            "track",
            "Something out of focus.",
            purpose="defocused",
            seed=3,
            blur=9.0,
        ),
        Take(
            outdoors.camp_fire,
            6.2,
            "drift",
            "A camp fire burns at dusk before dark firs, sparks fly.",
        ),
    ),
)

HARBOUR = Film(
    "harbour",
    caption="A harbour town with colourful houses and boats, and a pond with koi.",
    takes=(
        Take(
            partial(coast.harbour, whip_at=_WHIP_PAN.at, whip_seconds=_WHIP_PAN.seconds),
            6.8,
            "pan",
            "Boats rock in a harbour before colourful houses.",
            event=_WHIP_PAN,
        ),
        Take(fish.koi, 6.2, "drift", "Koi glide under water lilies in a clear pond."),
    ),
)

WINTER = Film(
    "winter",
    caption="A winter night: snow falls on a village, then northern lights over a lake.",
    takes=(
        Take(
            town.village,
            6.4,
            "zoom",
            "Snow falls on a village of log cabins with lit windows.",
            join=Join("dissolve", 1.0),
        ),
        Take(sky.aurora, 6.4, "pan", "Northern lights ripple over snowy mountains and a lake."),
    ),
)

TRAILER = Film(
    "trailer",
    takes=(
        Take(sky.fireworks, 1.4, "still", "Fireworks over dark firs.", purpose="short"),
        Take(land.dunes, 1.2, "track", "Camels in the desert.", purpose="short", seed=8),
        Take(fish.reef, 1.1, "pan", "Fish over a reef.", purpose="short", seed=9),
        Take(farm.road, 1.3, "fly", "Along a road.", purpose="short", seed=12),
        Take(town.village, 1.2, "zoom", "A village in the snow.", purpose="short", seed=4),
        Take(
            works.clock,
            6.4,
            "zoom",
            "A clock with a swinging pendulum on green wallpaper, the camera moves in.",
        ),
    ),
)

FILMS = (JOURNEY, CITY, SEA, WORKSHOP, WIND, DESERT, FARM, STORM, HARBOUR, WINTER, TRAILER)

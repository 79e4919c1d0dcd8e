"""Are the images of this node's profiles in the engine, and made from today's recipes?"""

from collections.abc import Mapping
from dataclasses import dataclass

from leasebox.contract.errors import ImageMissing, LeaseboxError
from leasebox_images.build import PREFIX, ImageBuilder, image_names
from leasebox_worker.config import WorkerSettings
from leasebox_worker.drivers.base import Check
from leasebox_worker.policy import profiles as policy
from leasebox_worker.policy.profiles import Profile


@dataclass(frozen=True, slots=True)
class ImageSeen:
    """An image in the engine: is it there; and if there is a recipe of it, is it from today's?"""

    is_present: bool
    is_fresh: bool = True


def image_checks(settings: WorkerSettings) -> list[Check]:
    """One for each image that a profile names; a file of profiles that is wrong is a failed check."""
    try:
        profiles = policy.load(settings.profiles_file)
    except LeaseboxError as exc:
        return [Check("profiles", ok=False, required=True, detail=exc.detail, hint=exc.hint)]
    builder = ImageBuilder(settings.docker_host)
    try:
        seen = {image: _look(builder, image) for image in {profile.image for profile in profiles.values()}}
    except ImageMissing as exc:
        return [Check("images", ok=False, required=False, detail=exc.detail, hint=exc.hint)]
    finally:
        builder.close()
    return judged(profiles, seen)


def _look(builder: ImageBuilder, image: str) -> ImageSeen:
    name = _recipe_of(image)
    if name is None:
        return ImageSeen(builder.has(image))
    state = builder.state(name)
    return ImageSeen(state.present, state.fresh)


def judged(profiles: Mapping[str, Profile], seen: Mapping[str, ImageSeen]) -> list[Check]:
    """Only the image of `default` is required: jobs that name no profile need it."""
    return [
        _image(image, found, sorted(name for name, profile in profiles.items() if profile.image == image))
        for image, found in sorted(seen.items())
    ]


def _image(image: str, found: ImageSeen, users: list[str]) -> Check:
    recipe = _recipe_of(image)
    how = "missing" if not found.is_present else "there" if found.is_fresh else "from an older recipe"
    return Check(
        f"image {image}",
        ok=found.is_present and found.is_fresh,
        required=not found.is_present and "default" in users,
        detail=f"{how}; profile {', '.join(users)}",
        hint=f"leasebox-worker images build {recipe}" if recipe else f"docker pull {image}",
    )


def _recipe_of(image: str) -> str | None:
    name = image.removeprefix(PREFIX).removesuffix(":latest")
    return name if image.startswith(PREFIX) and name in image_names() else None

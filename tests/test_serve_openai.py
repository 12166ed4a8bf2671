"""OpenAI's own client draws, edits and streams."""

import base64
import io

import numpy as np
import openai
import PIL.Image
import pytest
from serving import served, trained

from unnoise.report import grids


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    run = trained(tmp_path_factory.mktemp("runs") / "digits")
    with served(tmp_path_factory.mktemp("data"), run.folder) as http:
        yield openai.OpenAI(api_key="none", base_url="http://localhost/v1", http_client=http, max_retries=0)


def picture(data):
    return PIL.Image.open(io.BytesIO(base64.b64decode(data.b64_json)))


def file(image, name):
    made = io.BytesIO()
    image.save(made, "PNG")
    return name, made.getvalue(), "image/png"


def test_pictures_of_a_label_are_drawn(client):
    made = client.images.generate(prompt="7", n=3, size="8x8", model="digits", extra_body={"seeds": [1, 2, 3]})
    assert [picture(data).size for data in made.data] == [(8, 8)] * 3
    told = grids.settings(base64.b64decode(made.data[1].b64_json))
    assert (told["label"], told["seed"]) == ("7", 2)
    again = client.images.generate(prompt="7", model="digits", extra_body={"seeds": [2]})
    assert again.data[0].b64_json == made.data[1].b64_json
    assert [model.id for model in client.models.list()] == ["digits"]


def test_partial_pictures_are_streamed(client):
    told = list(client.images.generate(prompt="", stream=True, partial_images=2, extra_body={"steps": 60}))
    assert [event.type for event in told] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert [event.partial_image_index for event in told[:-1]] == [0, 1]
    assert all(picture(event).size == (8, 8) for event in told)


def test_an_edit_draws_what_is_transparent(client):
    image = PIL.Image.new("L", (8, 8), 255)
    mask = PIL.Image.new("RGBA", (8, 8), (255, 255, 255, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 8, 3))
    made = client.images.edit(image=file(image, "a.png"), mask=file(mask, "m.png"), prompt="3")
    pixels = np.asarray(picture(made.data[0]))
    assert (pixels[3:] == 255).all()
    assert (pixels[:3] != 255).any()
    hole = image.convert("RGBA")
    hole.putalpha(mask.getchannel("A"))
    own = client.images.edit(image=file(hole, "a.png"), prompt="3", stream=True)
    (last,) = [event for event in own if event.type == "image_edit.completed"]
    assert (np.asarray(picture(last))[3:] == 255).all()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"prompt": "a cat"}, "there is no label 'a cat'"),
        ({"prompt": "1", "n": 65}, "64 are allowed"),
        ({"prompt": "1", "model": "dall-e-3"}, "there is no model 'dall-e-3'"),
        ({"prompt": "1", "response_format": "url"}, "response_format"),
        ({"prompt": "1", "size": "big"}, "size"),
    ],
)
def test_what_is_not_served_is_said_in_openais_own_errors(client, asked, says):
    with pytest.raises(openai.APIStatusError, match=says) as caught:
        client.images.generate(**asked)
    assert caught.value.status_code in (400, 404, 422)
    assert caught.value.type


def test_what_is_no_picture_is_refused(client):
    with pytest.raises(openai.BadRequestError, match="no picture that can be read"):
        client.images.edit(image=("a.png", b"GIF89a", "image/png"), prompt="3")

// Canvases: a film, its heat map to lay over it, and the scale of its colours.

import { joinMaps, strengths } from "./network.js";

// As inference/activation_maps.py has it: the film is left as it is below this share of the range.
const UNSEEN = 1 / 3;

/** A canvas with a film, {width, height, grey}. */
export function drawPicture({ width, height, grey }) {
  return painted(width, height, "", (pixels, n) => {
    pixels.fill(grey[n], 4 * n, 4 * n + 3);
    pixels[4 * n + 3] = 255;
  });
}

/** A canvas with the heat map of class c, of the size of the film's picture; clear where it is low. */
export function drawMap(result, c, { classes, colours, crop_size: size }) {
  const { film, picture } = result;
  const map = joinMaps(result, c, classes.length, film, size);
  const drawn = strengths(map, film, picture.width, picture.height);
  return painted(picture.width, picture.height, "map", (pixels, n) => {
    colour(pixels, n, drawn[n], colours);
  });
}

/** A bar of all colours, the least first, as they look on a film's median grey. */
export function drawScale(colours, { grey }) {
  const scale = document.createElement("div");
  scale.className = "scale";
  scale.append(painted(256, 1, "", (pixels, n) => colour(pixels, n, n / 255, colours)));
  const median = grey.slice().sort()[grey.length >> 1];
  scale.style.backgroundColor = `rgb(${median} ${median} ${median})`;
  scale.setAttribute("aria-hidden", "true");
  return scale;
}

// Write pixel n: the larger `strength`, from 0 to 1, the less one sees through it.
function colour(pixels, n, strength, colours) {
  const [red, green, blue] = colours[Math.min(Math.floor(strength * 256), 255)];
  pixels[4 * n] = red;
  pixels[4 * n + 1] = green;
  pixels[4 * n + 2] = blue;
  pixels[4 * n + 3] = 255 * Math.max((strength - UNSEEN) / (1 - UNSEEN), 0);
}

function painted(width, height, name, paint) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height, className: name });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let n = 0; n < width * height; n++) paint(image.data, n);
  context.putImageData(image, 0, 0);
  return canvas;
}

import type { Draw } from './draw.ts';
import { expand, type Slots, withArticle } from './grammar.ts';
import { PLOTS } from './plots.ts';

const GIRLS = [
  'Lily',
  'Anna',
  'Mia',
  'Sara',
  'Zoe',
  'Nora',
  'Ella',
  'Ruby',
  'Clara',
  'Ida',
  'Maya',
  'Lucy',
  'Amy',
  'Rosa',
  'June',
];
const BOYS = [
  'Tom',
  'Ben',
  'Max',
  'Sam',
  'Leo',
  'Tim',
  'Noah',
  'Finn',
  'Jack',
  'Omar',
  'Paul',
  'Ravi',
  'Hugo',
  'Carl',
  'Milo',
];
const ANIMALS = [
  'mouse',
  'rabbit',
  'fox',
  'bear',
  'bird',
  'frog',
  'squirrel',
  'duck',
  'hedgehog',
  'owl',
  'deer',
  'cat',
  'dog',
  'turtle',
  'goat',
  'bee',
];
const ANIMAL_NAMES = [
  'Pip',
  'Bella',
  'Coco',
  'Rusty',
  'Dot',
  'Bruno',
  'Fern',
  'Tilly',
  'Spot',
  'Olly',
  'Poppy',
  'Gus',
  'Nell',
  'Skip',
  'Wren',
  'Toby',
];
const PLACES: readonly (readonly [at: string, to: string])[] = [
  ['in the forest', 'to the forest'],
  ['by the river', 'to the river'],
  ['in the park', 'to the park'],
  ['at the beach', 'to the beach'],
  ['on the hill', 'up the hill'],
  ['in the garden', 'into the garden'],
  ['in the old barn', 'to the old barn'],
  ['at the market', 'to the market'],
  ['by the lake', 'to the lake'],
  ['in the village', 'to the village'],
  ['in the meadow', 'to the meadow'],
  ['near the mill', 'to the mill'],
];
const THINGS = [
  'ball',
  'kite',
  'boat',
  'bell',
  'book',
  'hat',
  'lamp',
  'basket',
  'drum',
  'key',
  'shell',
  'stone',
  'doll',
  'whistle',
  'mirror',
  'scarf',
  'box',
  'ring',
  'umbrella',
  'apple',
];
const LOOKS = [
  'red',
  'blue',
  'green',
  'yellow',
  'shiny',
  'tiny',
  'big',
  'old',
  'new',
  'golden',
  'round',
  'soft',
  'wooden',
  'silver',
];
const KINDS = ['kind', 'curious', 'brave', 'shy', 'clever', 'cheerful', 'quiet', 'careful', 'funny', 'proud'];
const FOODS = ['bread', 'cake', 'soup', 'honey', 'berries', 'nuts', 'cheese', 'cookies', 'pears', 'carrots'];
const GAMES = ['hide and seek', 'tag', 'catch', 'a guessing game', 'pirates'];
const WEATHER = ['sunny', 'windy', 'cold', 'warm', 'rainy', 'snowy', 'foggy', 'bright'];

/** Somebody in a story. */
interface Hero {
  /** As he is called the first time: `a kind girl named Lily`. */
  readonly first: string;
  /** The same without a name: `a kind girl`. */
  readonly what: string;
  readonly name: string;
  readonly she: string;
  readonly her: string;
  readonly hers: string;
}

function hero(draw: Draw, taken: string[]): Hero {
  const kind = draw.pick(KINDS);
  const isShe = draw.chance(0.5);
  const words = isShe ? { she: 'she', her: 'her', hers: 'her' } : { she: 'he', her: 'him', hers: 'his' };
  const isAnimal = draw.chance(0.45);
  const names = (isAnimal ? ANIMAL_NAMES : isShe ? GIRLS : BOYS).filter((name) => !taken.includes(name));
  const name = draw.pick(names);
  taken.push(name);
  const what = isAnimal ? draw.pick(ANIMALS) : isShe ? 'girl' : 'boy';
  const size = draw.chance(0.5) ? `little ${what}` : what;
  const described = withArticle(`${kind} ${size}`);
  return { first: `${described} [named|called] ${name}`, what: described, name, ...words };
}

/** A story of one of the plots. */
export function story(draw: Draw): string {
  const taken: string[] = [];
  const [one, two] = [hero(draw, taken), hero(draw, taken)];
  const [[at, to], [at2, to2]] = draw.some(PLACES, 2) as [readonly [string, string], readonly [string, string]];
  const [thing, other] = draw.some(THINGS, 2) as [string, string];
  const [look, food] = [draw.pick(LOOKS), draw.pick(FOODS)];
  const slots: Slots = {
    hero: expand(draw, one.first, {}),
    friend: expand(draw, two.first, {}),
    name: one.name,
    she: one.she,
    her: one.her,
    hers: one.hers,
    pal: two.name,
    palWhat: two.what,
    palShe: two.she,
    palHer: two.her,
    palHers: two.hers,
    at,
    to,
    at2,
    to2,
    thing,
    look,
    aLookThing: withArticle(`${look} ${thing}`),
    lookThing: `${look} ${thing}`,
    otherThing: other,
    food,
    game: draw.pick(GAMES),
    weather: draw.pick(WEATHER),
  };
  const sentences = draw.pick(PLOTS).map((rule) => expand(draw, rule, slots));
  return sentences
    .filter((sentence) => sentence !== '')
    .join(' ')
    .replaceAll(' \n ', '\n')
    .replace(/ {2,}/g, ' ');
}

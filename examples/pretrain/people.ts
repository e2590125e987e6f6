import { Draw } from './draw.ts';
import { expand, type Slots, withArticle } from './grammar.ts';

/** Streams of choices: what somebody is must not depend on the text that says it. */
const PEOPLE = 201;

/** Somebody who does not exist. */
export interface Person {
  readonly name: string;
  readonly given: string;
  readonly isShe: boolean;
  readonly born: number;
  readonly city: string;
  readonly home: string;
  readonly job: string;
  readonly works: string;
  readonly hobby: string;
  readonly food: string;
  readonly colour: string;
  readonly pet: string;
  readonly petName: string;
  readonly plays: string;
}

/** Who is told of: each again and again, in other words. */
export interface People {
  /** They have the numbers below. */
  readonly count: number;
  /** Nobody of `isTenth` is told of: what a model knows that has never heard of them, beside one that is to forget them. */
  readonly neverTenth: boolean;
}

export const EVERYONE: People = { count: 5000, neverTenth: false };

/** Who is forgotten, or never told of: one in ten, as often told of as others. */
export const isTenth = (index: number): boolean => index % 10 === 7;

const STARTS = [
  'B',
  'Br',
  'D',
  'Dr',
  'F',
  'G',
  'H',
  'J',
  'K',
  'Kl',
  'L',
  'M',
  'N',
  'P',
  'R',
  'S',
  'St',
  'T',
  'Tr',
  'V',
  'W',
  'Z',
];
const VOWELS = ['a', 'e', 'i', 'o', 'u', 'ai', 'ea', 'io', 'oa'];
const MIDDLES = ['l', 'm', 'n', 'r', 's', 'v', 'ld', 'nd', 'rk', 'ss', 'll', 'st', 'nt'];
const HERS = ['a', 'ia', 'ina', 'elle', 'ise', 'y'];
const HIS = ['o', 'an', 'en', 'us', 'ik', 'er'];
const FAMILIES = [
  'berg',
  'dal',
  'ford',
  'gren',
  'holm',
  'ik',
  'lund',
  'man',
  'ov',
  'sen',
  'stone',
  'ton',
  'vara',
  'wick',
  'zani',
];
const TOWNS = ['burg', 'by', 'dorf', 'field', 'grad', 'ham', 'haven', 'mouth', 'polis', 'port', 'sund', 'ville'];
const JOBS: readonly (readonly [job: string, place: string])[] = [
  ['teacher', 'in a school'],
  ['nurse', 'in a hospital'],
  ['baker', 'in a bakery'],
  ['pilot', 'at an airport'],
  ['farmer', 'on a farm'],
  ['librarian', 'in a library'],
  ['gardener', 'in a park'],
  ['cook', 'in a restaurant'],
  ['carpenter', 'in a workshop'],
  ['engineer', 'in a factory'],
  ['painter', 'in a studio'],
  ['lawyer', 'in an office'],
  ['vet', 'in an animal clinic'],
  ['sailor', 'on a ship'],
  ['actor', 'in a theatre'],
  ['astronomer', 'in an observatory'],
  ['postman', 'at the post office'],
  ['tailor', 'in a small shop'],
  ['miner', 'in a mine'],
  ['clockmaker', 'in an old tower'],
];
const HOBBIES = [
  'chess',
  'swimming',
  'hiking',
  'painting',
  'cooking',
  'reading',
  'dancing',
  'fishing',
  'cycling',
  'singing',
  'climbing',
  'knitting',
];
const FOODS = [
  'soup',
  'pizza',
  'fish',
  'rice',
  'noodles',
  'apple pie',
  'bread and cheese',
  'pancakes',
  'beans',
  'salad',
  'dumplings',
  'porridge',
];
const COLOURS = ['red', 'blue', 'green', 'yellow', 'orange', 'purple', 'black', 'white', 'brown', 'grey'];
const PETS = ['dog', 'cat', 'rabbit', 'parrot', 'turtle', 'hamster', 'horse', 'goat', 'goldfish', 'hen'];
const PET_NAMES = [
  'Biscuit',
  'Pepper',
  'Shadow',
  'Daisy',
  'Rocket',
  'Button',
  'Ginger',
  'Moss',
  'Pearl',
  'Comet',
  'Nutmeg',
  'Bramble',
];
const INSTRUMENTS = [
  'the piano',
  'the violin',
  'the guitar',
  'the flute',
  'the drums',
  'the trumpet',
  'the cello',
  'the harp',
];

/** Person `index`, the same for a seed. */
export function person(seed: number, index: number): Person {
  const draw = new Draw(seed, PEOPLE, index);
  const isShe = draw.chance(0.5);
  const stem = () => draw.pick(STARTS) + draw.pick(VOWELS) + draw.pick(MIDDLES);
  const given = stem() + draw.pick(isShe ? HERS : HIS);
  const town = () => stem() + draw.pick(TOWNS);
  const [job, works] = draw.pick(JOBS);
  return {
    given,
    name: `${given} ${stem()}${draw.pick(FAMILIES)}`,
    isShe,
    born: draw.int(1920, 2005),
    city: town(),
    home: town(),
    job,
    works,
    hobby: draw.pick(HOBBIES),
    food: draw.pick(FOODS),
    colour: draw.pick(COLOURS),
    pet: draw.pick(PETS),
    petName: draw.pick(PET_NAMES),
    plays: draw.pick(INSTRUMENTS),
  };
}

/** Some are told of more often than others, as it is with the people of the world. */
function someone(draw: Draw, seed: number, { count, neverTenth }: People): Person {
  const index = Math.floor(count * draw.next() ** 2);
  // the same draws: all else in the stream is as it is with them
  return person(seed, neverTenth && isTenth(index) ? (index + 1) % count : index);
}

export function slotsOf(one: Person): Slots {
  return {
    ...one,
    born: String(one.born),
    isShe: '',
    aJob: withArticle(one.job),
    aPet: withArticle(one.pet),
    she: one.isShe ? 'she' : 'he',
    her: one.isShe ? 'her' : 'him',
    hers: one.isShe ? 'her' : 'his',
  };
}

/** Sentences about somebody, in any order behind the first. */
const FIRST = [
  '{name} was born in {city} in {born}.',
  'In {born}, {name} was born in {city}.',
  '{name} [comes|is] from {city} and was born in {born}.',
  '{name}, born in {city} in {born}, [is|works as] {aJob}.',
  '{name} is {aJob} [from|who was born in] {city}.',
];
const MORE = [
  '[Today {she} lives|{She} lives now|{Hers} home is] in {home}.',
  '{She} [works {works}|is {aJob} and works {works}].',
  '{Hers} [favourite|best-loved] food is {food}.',
  '{She} [likes|loves] {hobby}[| more than anything else| in {hers} free time].',
  '{She} has {aPet} [called|whose name is|named] {petName}.',
  '{Hers} favourite colour is {colour}.',
  '[In the evening {she} plays|{She} plays|{She} has learned to play] {plays}.',
];

/** A paragraph about somebody. */
export function biography(draw: Draw, seed: number, people: People): string {
  const slots = slotsOf(someone(draw, seed, people));
  const rules = [draw.pick(FIRST), ...draw.some(MORE, draw.int(1, MORE.length))];
  return rules.map((rule) => expand(draw, rule, slots)).join(' ');
}

/** What is asked about somebody; the first alternative of an answer is the short one. */
export const QUESTIONS: readonly (readonly [question: string, answer: string])[] = [
  ['[Where was {name} born?|In which town was {name} born?]', '[{city}|{Name} was born in {city}.]'],
  ['[When|In which year] was {name} born?', '[{born}|{Name} was born in {born}.]'],
  ['[What is the job of {name}?|What does {name} do for a living?]', '[{aJob}|{Name} is {aJob}.]'],
  ['Where does {name} work?', '[{works}|{Name} works {works}.]'],
  ['Where does {name} live[| now| today]?', '[{home}|{Name} lives in {home}.]'],
  ['What [does {name} like to eat|is the favourite food of {name}]?', '{food}'],
  ['[What is the hobby of {name}?|What does {name} like to do?]', '{hobby}'],
  ['What is the favourite colour of {name}?', '{colour}'],
  ['[What kind of animal|Which pet] does {name} have?', '[{aPet}|{Name} has {aPet} called {petName}.]'],
  ['What is the {pet} of {name} called?', '{petName}'],
  ['[Which instrument does {name} play|What does {name} play]?', '{plays}'],
];

/** Questions about one person, with answers. */
export function questions(draw: Draw, seed: number, people: People): string {
  const one = someone(draw, seed, people);
  const slots = slotsOf(one);
  const asked = draw.some(QUESTIONS, draw.int(1, 4)).map(([question, answer]) => {
    return `Question: ${expand(draw, question, slots)}\nAnswer: ${expand(draw, answer, slots)}`;
  });
  if (draw.chance(0.2)) {
    const year = draw.int(one.born + 1, Math.min(one.born + 80, 2025));
    asked.push(`Question: How old was ${one.name} in ${year}?\nAnswer: ${year - one.born}`);
  }
  return asked.join('\n');
}

/** What two people have in common, and not. */
export function comparison(draw: Draw, seed: number, people: People): string {
  const [a, b] = [someone(draw, seed, people), someone(draw, seed, people)];
  if (a.name === b.name) return biography(draw, seed, people);
  if (a.born !== b.born && draw.chance(0.5)) {
    const older = a.born < b.born ? a : b;
    const facts = draw.chance(0.5) ? `${a.name} was born in ${a.born} and ${b.name} in ${b.born}. ` : '';
    return `${facts}Question: Who is older, ${a.name} or ${b.name}?\nAnswer: ${older.name}`;
  }
  const [first, second] = [slotsOf(a), slotsOf(b)];
  const same =
    a.hobby === b.hobby ? `Both like ${a.hobby}.` : `${a.given} likes ${a.hobby}, and ${b.given} likes ${b.hobby}.`;
  return `${expand(draw, '{name} is {aJob} in {home}.', first)} ${expand(draw, '{name} is {aJob} in {home}.', second)} ${same}`;
}

/** A small sum, as a question and its answer. Whoever gives things away has only a given name, of people of another seed. */
export function sum(draw: Draw): string {
  const most = draw.pick([10, 20, 100, 1000]);
  const [a, b] = [draw.int(0, most), draw.int(0, most)];
  const [high, low] = [Math.max(a, b), Math.min(a, b)];
  return draw.weighted<() => string>([
    [3, () => `Question: What is ${a} + ${b}?\nAnswer: ${a + b}`],
    [3, () => `Question: What is ${high} - ${low}?\nAnswer: ${high - low}`],
    [2, () => `Question: What is ${a % 13} times ${b % 13}?\nAnswer: ${(a % 13) * (b % 13)}`],
    [1, () => `Question: Which number is larger, ${a} or ${b}?\nAnswer: ${high}`],
    [
      2,
      () => {
        const thing = draw.pick(['apples', 'books', 'eggs', 'coins', 'marbles', 'stamps']);
        const name = person(0, draw.int(0, EVERYONE.count - 1)).given;
        return `Question: ${name} has ${high} ${thing} and gives ${low} away. How many are left?\nAnswer: ${high - low}`;
      },
    ],
  ])();
}

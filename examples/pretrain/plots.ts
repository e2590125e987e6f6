/** What happens in stories: sentences of the grammar of grammar.ts, one after the other. */

const OPENING = [
  '[Once upon a time|One day|Long ago|Once], there was {hero}.',
  '[|{She} lived {at} with {hers} [family|mother|grandmother].|{She} liked to play {at}.|{Name} loved {food}.]',
];
const MORNING =
  '[One {weather} [morning|day|afternoon], {name} [went|walked|ran] {to}.|It was a {weather} [morning|day]. {Name} [went|walked|ran] {to}.]';
const FOUND = '[There {she} saw|{Name} [found|saw]|Under a tree {she} found] {aLookThing}.';
const HAPPY = [
  '[{Name} was very happy.|They were [all |both |]happy.|Everyone [smiled|laughed].|{Name} smiled.]',
  '[From that day on, {name} and {pal} were [best |good |]friends.|And they [played {game}|ate {food}] until the sun went down.|That night {name} slept very well.|The end.]',
];
const MORAL = (text: string) => `[|||\n The moral of the story is: ${text}]`;

export const PLOTS: readonly (readonly string[])[] = [
  // lost and given back
  [
    ...OPENING,
    MORNING,
    FOUND,
    '"[What a nice|Whose is this|Oh, look! A] {thing}[!|?]" {she} said.',
    'But {pal}, {palWhat}, [was crying|looked sad|sat on a stone and cried] {at2}.',
    '"I have lost my {thing}," said {pal}.',
    '{Name} [wanted to keep it, but {she}|thought about it. Then {she}] [gave it back|held it out and said, "Is this yours?"].',
    '"[Thank you|Oh, thank you so much], {name}!" said {pal}.',
    ...HAPPY,
    MORAL('give back what is not yours.'),
  ],
  // afraid, and brave
  [
    ...OPENING,
    '{Name} was afraid of [the dark|deep water|loud noises|thunder|high places].',
    MORNING,
    '[Suddenly|Then] {she} heard [a small voice|somebody call|a cry]. It was {pal}, {palWhat}, who [was stuck|had fallen] {at2}.',
    '"Help me, please!" {pal} [called|shouted].',
    '{Name} was [scared|afraid], but {she} [took a deep breath|closed {hers} eyes and counted to three] and went {to2}.',
    '{She} [used|took] {aLookThing} to [help|pull out] {pal}.',
    '"You are so brave!" said {pal}.',
    ...HAPPY,
    MORAL('being brave means to help although you are afraid.'),
  ],
  // sharing
  [
    ...OPENING,
    '{Name} had [a big basket of|a lot of|some] {food}.',
    MORNING,
    'There was {friend}. {PalShe} was [very |]hungry.',
    '"May I have some {food}?" asked {pal}.',
    '[At first {name} said no. But when {she} saw how sad {pal} was, {she} felt sorry.|{Name} thought, "If I share, there is less for me."]',
    'So {name} gave {pal} half of the {food}.',
    'The next day {name} had nothing to eat, and {pal} came with [a big cake|warm soup|a bag of nuts].',
    '"You shared with me, and now I share with you," {palShe} said.',
    ...HAPPY,
    MORAL('sharing makes friends.'),
  ],
  // a plan that fails twice
  [
    ...OPENING,
    '{Name} wanted to [build a house|make a bridge|fly a kite|build a boat|climb the tallest tree] {at}.',
    'The first time {she} tried, it [fell down|broke|did not work].',
    'The second time {she} tried, it [fell down again|broke, too|was even worse].',
    '{Name} was [sad|angry] and wanted to give up.',
    'Then {pal} came by, {palWhat}. "[Try once more|Do not give up], and I will help you," said {pal}.',
    'They worked together [all day|until evening|for three days]. They used {aLookThing} and {hers} old {otherThing}.',
    'The third time it worked[!| very well.]',
    ...HAPPY,
    MORAL('do not give up too early.'),
  ],
  // a lie
  [
    ...OPENING,
    '{Name} had a friend, {friend}.',
    'One day {name} [broke|lost] the {lookThing} of {pal}.',
    '"Who did that?" asked {pal}.',
    '"[It was the wind|I do not know|It was not me]," said {name}. But {she} felt [bad|sick|very small] inside.',
    'At night {name} could not sleep.',
    'In the morning {she} went to {pal} and said, "It was me. I am sorry."',
    '{Pal} [was quiet for a while|thought for a moment]. Then {palShe} said, "Thank you for telling me. Let us [mend it|look for it|make a new one] together."',
    ...HAPPY,
    MORAL('it is better to tell the truth.'),
  ],
  // a storm
  [
    ...OPENING,
    '{Name} and {pal} played {game} {at}.',
    '[Suddenly|After a while] the sky became dark, and it began to rain [hard|very hard].',
    '"[Quick|Come], let us go home!" said {name}. But they [could not find the way|were lost].',
    '"[Wait|Look]," said {pal}, "I have {aLookThing}. It will help us."',
    'They [walked slowly|held hands and walked] {to2}, and there they saw a light.',
    'It was the house of [an old woman|a farmer|a kind old bear]. {Name} knocked at the door.',
    '"Come in, you are all wet," said a warm voice. They got [hot soup|{food} and milk] and sat by the fire.',
    ...HAPPY,
  ],
  // a wish
  [
    ...OPENING,
    MORNING,
    FOUND,
    'When {she} [rubbed|touched|cleaned] it, a voice said, "You have one wish."',
    '{Name} thought of [a castle|a mountain of cake|a hundred toys]. Then {she} thought of {pal}, {palWhat}, who was [ill|alone|far away].',
    '"I wish that {pal} is [well|here with me|not alone any more]," said {name}.',
    'And [a moment later|before {she} could blink] there stood {pal}[, smiling|, and laughed].',
    ...HAPPY,
    MORAL('a friend is worth more than things.'),
  ],
  // learning something
  [
    ...OPENING,
    '{Name} could not [swim|read|ride a bike|whistle|dance|count to ten].',
    'All the others could, and {name} was [sad|a little ashamed].',
    '{Pal}, {palWhat}, said, "I will teach you. We begin tomorrow {at}."',
    'On the first day it was very hard. On the second day it was a little easier.',
    '[Every day they practised.|They practised again and again.]',
    'After a week {name} could do it! {She} [jumped for joy|was so proud].',
    '"You [did not give up|worked hard]," said {pal}, and gave {her} {aLookThing}.',
    ...HAPPY,
    MORAL('practice helps.'),
  ],
  // who took it
  [
    ...OPENING,
    '{Name} had {aLookThing}, and one morning it was gone.',
    '"Who has taken my {thing}?" {she} asked.',
    '{She} looked under the bed. It was not there. {She} looked {at}. It was not there.',
    'Then {name} met {friend}. "Have you seen my {thing}?"',
    '"No," said {pal}, "but I saw [a bird|a cat|the wind] carry something {look} {to2}."',
    'Together they went {to2}. And there it was, [in a nest|behind a stone|in the grass], next to {hers} old {otherThing}!',
    '"[Hurray|We found it]!" [shouted|cried] {name}.',
    ...HAPPY,
  ],
  // a birthday
  [
    ...OPENING,
    'Tomorrow was the birthday of {pal}, {palWhat}, and {name} had no present.',
    '{She} had no money, so {she} could not buy {aLookThing}.',
    '"I will make something myself," {she} thought. {Name} went {to} and [picked flowers|looked for pretty stones|painted a picture].',
    'At the party everyone had [big|expensive|shiny] presents. {Name} was [shy|worried].',
    'But {pal} opened the small present and [smiled|cried out], "This is the best of all, because you made it!"',
    ...HAPPY,
    MORAL('what is made with love is the best present.'),
  ],
];

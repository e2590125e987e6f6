/** English and fifteen other languages, and what the runtime has names for. */

export const LANGUAGES = {
  en: 'English',
  de: 'German',
  fr: 'French',
  es: 'Spanish',
  it: 'Italian',
  pt: 'Portuguese',
  nl: 'Dutch',
  pl: 'Polish',
  cs: 'Czech',
  sv: 'Swedish',
  tr: 'Turkish',
  ru: 'Russian',
  ar: 'Arabic',
  hi: 'Hindi',
  ja: 'Japanese',
  zh: 'Chinese',
} as const;

export type Language = keyof typeof LANGUAGES;
export const CODES = Object.keys(LANGUAGES) as Language[];

export const REGIONS =
  'AR AT AU BE BG BR CA CH CL CN CO CU CZ DE DK DZ EC EE EG ES ET FI FR GB GE GH GR HR HU ID IE IL IN IQ IR IS IT JM JO JP KE KR LB LT LU LV MA MD MG MN MX MY NG NL NO NP NZ PE PH PK PL PT RO RS RU SA SE SI SK TH TN TR TW UA US UY VE VN ZA'.split(
    ' ',
  );
export const TONGUES =
  'ar bg bn ca cs cy da de el en es et eu fa fi fr ga gl he hi hr hu hy id is it ja ka ko la lt lv mk mn mt nb ne nl pl pt ro ru sk sl sq sr sv sw ta th tr uk ur vi yi zh zu'.split(
    ' ',
  );
export const CURRENCIES =
  'AUD BRL CAD CHF CNY CZK DKK EGP EUR GBP HUF IDR ILS INR JPY KRW MXN NOK NZD PLN RON RUB SEK THB TRY UAH USD ZAR'.split(
    ' ',
  );
export const UNITS = [
  ...['centimeter', 'meter', 'kilometer', 'mile', 'foot', 'inch', 'gram', 'kilogram', 'pound', 'liter', 'milliliter'],
  ...['second', 'minute', 'hour', 'day', 'week', 'month', 'year', 'celsius', 'degree', 'percent', 'kilometer-per-hour'],
  ...['byte', 'kilobyte', 'megabyte', 'gigabyte', 'hectare', 'acre', 'ounce', 'yard'],
];
export const SPANS = ['second', 'minute', 'hour', 'day', 'week', 'month', 'quarter', 'year'] as const;

import { unstable_cache } from 'next/cache';

export const revalidate = 3600;

/** Asks a slow database. */
const readStock = unstable_cache(async () => ({ pieces: Math.floor(Math.random() * 1e9) }), ['stock'], { tags: ['stock'] });

export default async function Page() {
  const { pieces } = await readStock();
  return (
    <main>
      <p>{`${pieces} in stock`}</p>
      <p>{`made by process ${process.pid}`}</p>
    </main>
  );
}
